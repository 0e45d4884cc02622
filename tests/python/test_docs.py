"""The documents: every link leads somewhere, every file of a run has a line, every message of the troubleshooting exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.documents import documented_files

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
LARGEST_PICTURE = 300_000


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {f"{slug}-{n}" if n else slug for slug, last in found.items() for n in range(last + 1)}


def links(page: Path) -> list[str]:
    text = prose(page)
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in links(page):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link} names no heading of {target.name}"


def test_the_site_builds_and_has_every_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    python = (tmp_path / "python" / "index.html").read_text(encoding="utf-8")
    assert "reference activity" in python
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in ROOT.glob("docs/**/*.md"):
        assert str(page.relative_to(ROOT / "docs")) in menu, page


def test_pictures_are_small_and_described() -> None:
    for picture in (ROOT / "docs" / "assets").iterdir():
        assert picture.stat().st_size < LARGEST_PICTURE, picture.name
    for page in PAGES:
        for described in re.findall(r"!\[(.*?)\]\(", prose(page)) + re.findall(r'<img[^>]*alt="(.*?)"', prose(page)):
            assert len(described) > 10, f"{page.name}: a picture without a text"
        assert prose(page).count("<img") == len(re.findall(r'<img[^>]*alt="', prose(page)))


def test_output_lists_whole_sections() -> None:
    patterns = documented_files()
    for file in ("inputs/simulated/truth.json", "procap/peaks/A.peaks.bed", "effects/scores/my.set.legnet.cost.json"):
        assert any(pattern.match(file) for pattern in patterns), file
    assert not any(pattern.match("procap/peaks/A.other.bed") for pattern in patterns)


def messages() -> list[str]:
    """Messages of the troubleshooting table that tools or the pipeline print (code spans of its first column)."""
    text = (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
    section = text[text.index("## When something goes wrong") :]
    return [
        span for row in re.findall(r"^\| (.*?) \|", section, re.MULTILINE) for span in re.findall(r"`([^`]+)`", row)
    ]


@pytest.mark.parametrize("message", messages())
def test_messages_of_the_troubleshooting_are_those_of_the_program(message: str) -> None:
    """The words between the placeholders (…) stand in the source, in this order on one message."""
    sources = [*ROOT.glob("bin/allelegro/**/*.py"), *ROOT.glob("modules/**/*.nf"), ROOT / "main.nf"]
    # A message may be cut over lines of the source, and holds values where the document has an ellipsis.
    plain = [re.sub(r'"\s*\n\s*f?"', "", source.read_text(encoding="utf-8")) for source in sources]
    words = [re.escape(part.strip()) for part in message.split("…") if part.strip()]
    assert any(re.search("[^\n]*".join(words), text) for text in plain), message
