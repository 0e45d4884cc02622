"""The documents as data: what docs/output.md promises."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def documented_files() -> list[re.Pattern[str]]:
    """Patterns of the files that docs/output.md lists: capitals stand for names, a folder for all that is in it."""
    patterns = []
    for section in re.split(r"^## ", (ROOT / "docs" / "output.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        folder = re.match(r"`(\w+/)`", section)
        for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) if folder else []:
            for name in re.findall(r"`([^`]+)`", row):
                path = re.sub(r"\b[A-Z]+\b", "[^/]+", re.escape(f"{folder.group(1)}{name}"))
                patterns.append(re.compile(path + (".*" if name.endswith("/") else "") + "$"))
    return patterns
