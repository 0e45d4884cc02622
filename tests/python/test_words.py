"""The words of code, messages and documents are those of the field."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Words that a geneticist would not know us by, and what to write. A name in `code` or "quotes" that a file has is left.
WORDS = {
    r"twins?": "control model",
    r"verdicts?": "call, status, conclusion",
    r"mend(s|ed|ing)?": "fix",
    r"vouch(es|ed)?": "record",
    r"anew": "again",
    r"of one's own": "user-provided",
    r"taught|by heart": "learned from, memorise",
    r"commoner": "majority",
    r"coins?": "chance",
    r"towers?": "PCR-duplicate pile-up",
    r"funnels?|fates?": "filtering summary",
    r"(left|leaves?|leaving) out": "excluded, dropped",
    r"turned round": "reverse-complemented",
    r"spelt|spelled": "encoded, written",
    r"half-trained": "partial checkpoint",
    r"beside": "alongside, with, next to",
    r"likeness|who is who": "correlation, donor identity",
    r"word model": "k-mer model",
}
READ_BY_TOOLS = re.compile(r"read_fates|best_donor\s+verdict|\bverdict\b(?=[\"'`]|\s+(column|`))|[\"'`]verdict\b")
PROSE = ["*.md", "docs/*.md", "bin/**/*.py", "bin/**/*.j2", "modules/**/*.nf", "conf/*", "main.nf", "nextflow.config"]
PROSE += [
    "nextflow_schema.json",
    "CITATION.cff",
    "Makefile",
    "containers/Dockerfile",
    "containers/*.*",
    "benchmarks/*.py",
]


def files(*patterns: str) -> list[Path]:
    return sorted({path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()})


def offenders(path: Path) -> Iterator[str]:
    """Lines with a word of the list, as file:line: word → what to write."""
    expected = {re.compile(rf"(?<![\w-]){word}(?![\w-])", re.IGNORECASE): better for word, better in WORDS.items()}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        for pattern, better in expected.items():
            for found in pattern.finditer(READ_BY_TOOLS.sub("", line)):
                yield f"{path.relative_to(ROOT)}:{number}: {found.group()} → {better}"


def test_words_are_those_of_the_field() -> None:
    found = [offence for path in files(*PROSE) for offence in offenders(path)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("line", ["its twin", "`verdict`s mended", "a Verdict: swap"])
def test_the_check_of_words_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr("test_words.ROOT", tmp_path)
    (tmp_path / "a.md").write_text(f"Good.\n{line}\n")
    assert [offence.split(":")[:2] for offence in offenders(tmp_path / "a.md")] == [["a.md", "2"]]
