"""Compression is told by content, whatever the name."""

import gzip
from pathlib import Path

import pysam
import pytest

from allelegro.errors import DataError
from allelegro.io.compression import open_binary, text_lines

TEXT = b"one\ntwo\r\nthree"
LARGE = bytes(range(256)) * 20_000


def bgzip(folder: Path, content: bytes) -> bytes:
    with pysam.BGZFile(str(folder / "made.bgz"), "wb") as file:  # type: ignore[call-arg]
        file.write(content)
    return (folder / "made.bgz").read_bytes()


@pytest.mark.parametrize("name", ["t.txt", "t.txt.gz"])
@pytest.mark.parametrize("content", [b"", b"x", TEXT, LARGE], ids=["empty", "byte", "text", "large"])
@pytest.mark.parametrize("form", ["plain", "gzip", "members", "bgzip", "razf", "padded"])
def test_content_decides(tmp_path: Path, name: str, content: bytes, form: str) -> None:
    forms = {
        "plain": lambda: content,
        "gzip": lambda: gzip.compress(content),
        "members": lambda: gzip.compress(content[:5]) + gzip.compress(b"") + gzip.compress(content[5:]),
        "bgzip": lambda: bgzip(tmp_path, content),
        "razf": lambda: gzip.compress(content) + b"\x00\x00\x00\x01 an index of another tool",
        "padded": lambda: gzip.compress(content) + bytes(10_000),
    }
    (tmp_path / name).write_bytes(forms[form]())
    with open_binary(tmp_path / name) as file:
        assert file.read() == content


def test_bytes_after_the_stream_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    (tmp_path / "t").write_bytes(gzip.compress(TEXT) + b"index")
    assert list(text_lines(tmp_path / "t")) == ["one", "two", "three"]
    assert "bytes after the end of the gzip stream are ignored" in caplog.text


@pytest.mark.parametrize("form", ["gzip", "members", "bgzip"])
def test_a_stream_that_ends_early_is_an_error(tmp_path: Path, form: str) -> None:
    whole = {
        "gzip": gzip.compress(LARGE),
        "members": gzip.compress(LARGE) + gzip.compress(LARGE),
        "bgzip": bgzip(tmp_path, LARGE),
    }[form]
    for kept in (len(whole) - 1, len(whole) - 9, len(whole) - 28, len(whole) * 3 // 4, 15, 3):
        (tmp_path / "t").write_bytes(whole[:kept])
        with pytest.raises(DataError, match=r"truncated|damaged"), open_binary(tmp_path / "t") as file:
            file.read()


def test_damage_is_an_error(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(LARGE))
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "t").write_bytes(whole)
    with pytest.raises(DataError, match="damaged"), open_binary(tmp_path / "t") as file:
        file.read()
