"""Messages that the documentation explains, provoked: what the program says has the documented words in their order."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from allelegro.inputs.check import check_inputs

USAGE = Path(__file__).parents[2] / "docs" / "usage.md"


def sheet(folder: Path, *rows: str) -> list[str]:
    """The problems of a sheet of libraries; ``a.bw`` and ``b.bw`` are there."""
    for name in ("a.bw", "b.bw"):
        (folder / name).write_bytes(b"x")
    (folder / "libraries.tsv").write_text("\n".join(row.replace(" ", "\t") for row in rows) + "\n")
    checked = check_inputs(
        libraries=folder / "libraries.tsv", mpra=None, variant_sets=None, comparators=None, genome=None, variants=[],
    )  # fmt: skip
    return checked.problems


PROVOKED: dict[str, Callable[[Path], list[str]]] = {
    "column … is not known; known are …": lambda folder: sheet(folder, "library donor bam mood", "A D a.bam good"),
    "no such file (looked for …": lambda folder: sheet(folder, "library donor plus minus", "A D a.bw c.bw"),
    "no input; fill in bam, or plus and minus, or fastq_1": lambda folder: sheet(folder, "library donor bam", "A D "),
    "is already used in row …; each file belongs to one row": lambda folder: sheet(
        folder, "library donor plus minus", "A D a.bw b.bw", "B E a.bw b.bw"
    ),
}


@pytest.mark.parametrize("documented", PROVOKED)
def test_a_documented_message_is_what_the_program_says(documented: str, tmp_path: Path) -> None:
    assert f"`{documented}`" in USAGE.read_text(encoding="utf-8")
    words = ".*".join(re.escape(part.strip()) for part in documented.split("…") if part.strip())
    said = PROVOKED[documented](tmp_path)
    assert any(re.search(words, line) for line in said), said
