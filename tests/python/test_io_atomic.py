"""Outputs appear whole or not at all, and never in place of something that is no output."""

import os
from pathlib import Path

import pytest

from allelegro.errors import DataError
from allelegro.io.atomic import atomic_folder, atomic_path


def test_a_file_takes_its_place_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "out.txt"
    with atomic_path(target) as partial:
        partial.write_text("one")
    with pytest.raises(ValueError, match="interrupted"), atomic_path(target) as partial:
        partial.write_text("half")
        raise ValueError("interrupted")
    assert target.read_text() == "one" and list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    """As the superuser a rename would put a file in the place of /dev/null."""
    target = tmp_path / "target"
    target.mkdir() if kind == "folder" else os.mkfifo(target)
    before = target.stat().st_mode
    with pytest.raises(DataError, match="is not a regular file"), atomic_path(target) as partial:
        partial.write_text("x")
    if kind == "pipe":
        with pytest.raises(DataError, match="is not replaced"), atomic_folder(target, "marker"):
            pass
    assert target.stat().st_mode == before and list(tmp_path.iterdir()) == [target]
