"""A report that names nobody."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from allelegro.report.anonymous import Pseudonyms
from allelegro.report.results import Results
from allelegro.report.sections.loci import Locus, _shown
from helpers.tools import run


@pytest.fixture(scope="module")
def results(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stages of a simulated cohort in the layout of a run; its donors are SIM0001, SIM0002, SIM0003."""
    folder = tmp_path_factory.mktemp("results")
    for source, target in (
        ("counts", "procap/counts"),
        ("haplotypes", "genotype/haplotypes"),
        ("qc", "procap/coverage"),
    ):
        shutil.copytree(world / source, folder / target)
    shutil.copy(world / "windows.bed", folder / "procap" / "windows.bed")
    for tool, arguments in (
        ("library_qc", ["--counts", "procap/counts", "--folder", "procap/coverage", "--out", "procap/qc"]),
        ("genotype_report", ["--store", "genotype/haplotypes", "--out", "genotype/qc"]),
    ):
        done = run(folder, tool, arguments)
        assert done.returncode == 0, done.stderr
    return folder


def everything(folder: Path) -> str:
    return "\n".join(f"{path.name}\n{path.read_text()}" for path in sorted(folder.rglob("*")) if path.is_file())


def test_no_name_is_left_in_the_page_figures_and_data(results: Path, tmp_path: Path) -> None:
    for name, options in (("named", []), ("anonymous", ["--anonymous"])):
        done = run(tmp_path, "build_report", ["--results", str(results), "--out", name, *options])
        assert done.returncode == 0, done.stderr
    assert "SIM0001" in everything(tmp_path / "named")
    assert not re.findall(r"SIM000\d\w*", everything(tmp_path / "anonymous"))
    assert "donor 1" in everything(tmp_path / "anonymous")


def test_numbers_are_those_of_the_run_and_not_of_the_names(results: Path) -> None:
    once, again = Results(results, anonymous=True), Results(results, anonymous=True)
    assert once.donors == again.donors
    assert sorted(once.donors) == ["donor 1", "donor 2", "donor 3"]
    many = [f"NA{number}" for number in range(50)]
    first, other = (Pseudonyms(many, [], secret) for secret in ("one", "two"))
    assert [first.said[name] for name in many] != [other.said[name] for name in many]
    assert [first.said[name] for name in many] != sorted(first.said.values())


def test_names_inside_text_and_headers_are_replaced() -> None:
    names = Pseudonyms(["NA1", "NA12", "1"], ["NA1_1"], "x")
    said = names.document({"NA12": ["reads of NA1_1.bam", "NA123 stays", "1 of 3"], "note": "1"})
    assert set(said) == {names.said["NA12"], "note"}
    assert said[names.said["NA12"]] == [f"reads of {names.said['NA1_1']}.bam", "NA123 stays", "1 of 3"]
    assert said["note"] == names.said["1"]
    table = names.table(pd.DataFrame({"donor": ["NA1", "NA12", "1"], "n": [1, 2, 3], "NA1_1": [0.1, 0.2, 0.3]}))
    assert table["donor"].tolist() == ["donor 1", "donor 2", "donor 3"] and "library 1" in table


def test_a_genotype_of_one_donor_is_not_drawn(results: Path) -> None:
    anonymous, named = Results(results, anonymous=True), Results(results)
    genotype = pd.Categorical(["A/A", "A/A", "A/G"])
    locus = Locus(pd.Series(dtype=object), ["a", "b", "c"], np.zeros((3, 2, 5)), "A>G", 1, genotype)
    kept = _shown(anonymous, locus)
    assert kept is not None and kept.donors == ["a", "b"] and list(kept.genotype.categories) == ["A/A"]
    alone = Locus(pd.Series(dtype=object), ["a", "c"], np.zeros((2, 2, 5)), "A>G", 1, genotype[1:])
    assert _shown(anonymous, alone) is None and _shown(named, alone) is alone
