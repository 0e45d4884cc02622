"""The notebooks of the documentation run to their end on small stores, and show what their text says."""

import re
from pathlib import Path

import pytest

from helpers.notebooks import run_notebook
from helpers.toy_stores import make_toy

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"


@pytest.mark.usefixtures("one_thread")
def test_haplotypes_and_counts(tmp_path: Path) -> None:
    toy = make_toy(tmp_path, loci=60, donors=4, width=100)
    for store, folder in ((toy.counts, "procap/counts"), (toy.haplotypes, "genotype/haplotypes")):
        target = tmp_path / "results" / "demo" / folder
        target.parent.mkdir(parents=True, exist_ok=True)
        store.rename(target)
    names, printed = run_notebook(NOTEBOOKS / "haplotypes_and_counts.ipynb", tmp_path)
    assert "60 windows, 4 donors: 240 distinct of 480 haplotypes" in printed
    assert names["targets"].shape == (60, 4)
    assert names["losses"][0] > 2 * sum(names["losses"][-10:]) / 10
    assert re.search(r"r across 15 held-out windows: -?\d", printed)
    assert len(names["predicted"]) == 15 and all(len(one) == 4 for one in names["predicted"])
