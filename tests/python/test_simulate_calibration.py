"""benchmarks/simulator_calibration.py on a tiny cohort: every row is there, and what must be true of them is."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRUE_R = 0.99  # of the true grammar, through the window in which the truth was computed


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[str]]]:
    """The three tables as printed: the cells of each row by its first cell."""
    work = tmp_path_factory.mktemp("calibration")
    sizes = ["--preset", "tiny", "--individuals", "12", "--loci", "24"]
    command = [sys.executable, str(ROOT / "benchmarks" / "simulator_calibration.py"), "--work", str(work), *sizes]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: list[dict[str, list[str]]] = [{}]
    for line in said.splitlines():
        if not line:
            found.append({})
        elif line.startswith("|"):
            first, *others = (cell.strip() for cell in line.strip("|").split("|"))
            found[-1][first] = others
    return [table for table in found if table]


def test_the_calibration_has_a_row_for_each_figure(tables: list[dict[str, list[str]]]) -> None:
    figures = {name: cells for name, cells in tables[0].items() if name not in ("figure", "---")}
    assert len(figures) == 19
    assert all(len(cells) == 3 for cells in figures.values())
    shares = [float(cells[0].rstrip("%")) for cells in figures.values() if cells[0].endswith("%")]
    assert len(shares) >= 8 and all(0 <= share <= 100 for share in shares)
    correlations = {name: float(cells[0]) for name, cells in figures.items() if name.startswith("r ")}
    assert len(correlations) == 2 and all(0.5 < r <= 1 for r in correlations.values())
    assert 1e-4 < float(figures["heterozygous sites a base"][0]) < 1e-2
    assert float(figures["reads at an element, median library"][0]) > 0


def test_the_true_grammar_reaches_the_truth_through_its_own_window(tables: list[dict[str, list[str]]]) -> None:
    ceilings = tables[1]
    assert {f"{name}, all" for name in ("truth", "satmut", "mpra", "adastra", "udacha")} <= ceilings.keys()
    snvs, on_variant, _, whole, _ = ceilings["truth, all"]
    assert int(snvs.replace(",", "")) > 50
    assert float(whole) >= TRUE_R > float(on_variant)


def test_donors_are_compared_at_every_size_there_is(tables: list[dict[str, list[str]]]) -> None:
    donors = {size: cells for size, cells in tables[2].items() if size.isdigit()}
    assert list(donors) == ["12"]
    loci, perfect, strongest = (float(cell) for cell in donors["12"][:3])
    assert 0 < loci <= 24 and -1 <= perfect < strongest <= 1
