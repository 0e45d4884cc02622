"""Arrays are written whole or an error is raised."""

import io
from pathlib import Path

import numpy as np
import pytest

from allelegro.io.arrays import append_array, load_array, save_array
from helpers.pipeline import ROOT


@pytest.mark.parametrize(
    "values",
    [np.arange(5), np.zeros((0, 3), np.uint8), np.ones((2, 3, 4), np.float32).T, np.array([[1], [2]], np.uint16)],
    ids=["numbers", "empty", "transposed", "column"],
)
def test_a_file_is_that_of_numpy(tmp_path: Path, values: np.ndarray) -> None:
    expected = io.BytesIO()
    np.save(expected, np.ascontiguousarray(values))
    save_array(tmp_path / "a.npy", values)
    assert (tmp_path / "a.npy").read_bytes() == expected.getvalue()
    found = load_array(tmp_path / "a.npy", "")
    assert found.dtype == values.dtype and (found == values).all()


def test_a_full_disk_is_an_error() -> None:
    with pytest.raises(OSError, match="No space left"):
        save_array(Path("/dev/full"), np.arange(5))
    with pytest.raises(OSError, match="No space left"), Path("/dev/full").open("wb") as file:
        append_array(file, np.arange(5))


def test_no_other_way_of_writing_arrays() -> None:
    """``np.save`` and ``tofile`` lose the last numbers of an array on a full disk, without an error."""
    writers = [
        path.name
        for path in (ROOT / "bin" / "allelegro").rglob("*.py")
        if any(name in path.read_text() for name in ("np.save(", ".tofile("))
    ]
    assert not writers
