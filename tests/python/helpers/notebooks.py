"""Run the code of a notebook, cell after cell, as a person would who has the files that it names."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any


def run_notebook(path: Path, folder: Path, changes: dict[str, str] | None = None) -> tuple[dict[str, Any], str]:
    """Run the code cells with ``folder`` as the working directory; what they defined, and what they printed.

    ``changes`` are texts to replace in the code, each of which must occur. Raises what a cell raises.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]
    for old, new in (changes or {}).items():
        assert any(old in cell for cell in cells), f"{path.name}: no cell has {old!r}"
        cells = [cell.replace(old, new) for cell in cells]
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        for number, cell in enumerate(cells, 1):
            exec(compile(cell, f"{path.name} cell {number}", "exec"), names)
    return names, printed.getvalue()
