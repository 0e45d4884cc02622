"""What ``import allelegro`` gives: names, types, and the first things a person does with them."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torch.utils.data import DataLoader

import allelegro as al
from helpers.toy_stores import Toy, make_toy
from helpers.toy_variants import write_checkpoint, write_genome, write_vcf

PACKAGE = Path(al.__file__).parent


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("toy"), loci=6, donors=3, width=100)


def test_every_name_is_there_and_typed() -> None:
    for name in al.__all__:
        assert getattr(al, name) is not None
    typed = re.findall(r" as (\w+)$", (PACKAGE / "__init__.pyi").read_text(), re.MULTILINE)
    assert sorted([*typed, "__version__"]) == sorted(al.__all__)
    assert set(al.__all__) <= set(dir(al))
    with pytest.raises(AttributeError, match="no attribute 'scores'"):
        getattr(al, "scores")  # noqa: B009 (mypy knows that it is not there)


def test_importing_imports_nothing_heavy() -> None:
    heavy = "import sys, allelegro; print([name for name in ('numpy', 'pandas', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", heavy], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_scores_are_a_table_of_every_allele(tmp_path: Path) -> None:
    genome = write_genome(tmp_path / "genome.fa", {"chr1": 400})
    base = genome["chr1"][199]
    alternatives = [other for other in "ACGT" if other != base][:2]
    write_vcf(tmp_path / "a b.vcf", {"chr1": 400}, [("chr1", 200, f"v{alt}", base, alt) for alt in alternatives])
    model = write_checkpoint(tmp_path / "model")
    table = al.score(str(tmp_path / "a b.vcf"), tmp_path / "genome.fa", tmp_path / "model", device="cpu")
    assert table["alt"].tolist() == alternatives
    assert table["effect"].notna().all()
    again = al.score(tmp_path / "a b.vcf", str(tmp_path / "genome.fa"), model, device="cpu", name="mine")
    pd.testing.assert_series_equal(again["effect"], table["effect"])
    assert set(again["model"]) == {"mine"}
    with pytest.raises(al.DataError, match="no such file"):
        al.score(tmp_path / "none.vcf", tmp_path / "genome.fa", model, device="cpu")


def test_a_haplotype_store_is_a_dataset(toy: Toy) -> None:
    store = al.HaplotypeStore(str(toy.haplotypes))
    targets = np.arange(4).reshape(2, 2)
    data = store.dataset(windows=[4, 1], donors=["D02", "D00"], targets=targets)
    assert len(data) == 4
    assert data.place(1) == (4, "D00")
    haplotypes, target = data[1]
    assert (haplotypes.numpy() == toy.sequences[4, toy.index[4, 0]]).all()
    assert target == targets[0, 1]
    batches = list(DataLoader(data, batch_size=3))
    assert [tuple(codes.shape) for codes, _ in batches] == [(3, 2, 100), (1, 2, 100)]
    assert (batches[1][0][0].numpy() == toy.sequences[1, toy.index[1, 0]]).all()
    assert len(list(store.dataset())) == 18
    with pytest.raises(IndexError):
        _ = data[4]
    with pytest.raises(al.DataError, match="nobody"):
        store.dataset(donors=["nobody"])
    with pytest.raises(al.DataError, match="windows and donors"):
        store.dataset(targets=targets)


def test_read_counts(toy: Toy) -> None:
    store = al.read_counts(str(toy.counts))
    table = store.table()
    assert table.index.tolist() == store.windows["name"].tolist()
    assert table.columns.tolist() == toy.libraries
    assert (table.to_numpy() == toy.library_counts).all()
