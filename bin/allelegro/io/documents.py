"""JSON documents that one tool writes and another reads."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from allelegro.errors import DataError


def read_document(path: Path, keys: Sequence[str], tool: str) -> dict[str, Any]:
    """A JSON object that holds ``keys``; raises DataError when it is missing, damaged or not written by ``tool``."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} line {error.lineno}: not valid JSON; run {tool} again") from None
    except (UnicodeDecodeError, RecursionError):
        raise DataError(f"{path}: not valid JSON; run {tool} again") from None
    if not isinstance(document, dict) or not document.keys() >= set(keys):
        raise DataError(f"{path}: not a report of {tool}; run it again")
    return document
