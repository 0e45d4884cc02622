from allelegro.effects.score import score as score
from allelegro.effects.trained import load as load
from allelegro.errors import DataError as DataError
from allelegro.genotype.dataset import HaplotypeDataset as HaplotypeDataset
from allelegro.genotype.store import HaplotypeStore as HaplotypeStore
from allelegro.procap.counts import CountsStore as CountsStore
from allelegro.procap.counts import read_counts as read_counts

__version__: str
__all__: list[str]
