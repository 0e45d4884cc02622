"""Shards of a variant set's scores, joined: no torch is needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from allelegro.effects.score_files import SCORE_COLUMNS, in_file_order, of_model, write_chunks
from allelegro.effects.scoring_cost import Cost, together
from allelegro.effects.variants import SHARD_CHUNK
from allelegro.errors import DataError


def gather(shards: Mapping[str, Sequence[Path]], costs: Sequence[Path], out: Path, out_cost: Path) -> dict[str, Path]:
    """Write each model's scores and cost, ``{model}`` in the names replaced; the tables written.

    Raises DataError for shards that do not make a whole, and for costs of other models.
    """
    records: dict[str, list[Cost]] = {}
    for path in costs:
        record = Cost.read(path)
        records.setdefault(record.model, []).append(record)
    if records.keys() != shards.keys():
        raise DataError(f"costs of {', '.join(records)} but scores of {', '.join(shards)}; give those of each model")
    tables = {model: of_model(out, model) for model in shards}
    for model, paths in shards.items():
        together(records[model]).write(of_model(out_cost, model))
        write_chunks(in_file_order(paths, SHARD_CHUNK), tables[model], SCORE_COLUMNS)
    return tables
