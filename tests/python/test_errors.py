"""Errors of the system as one line: the file and what to do."""

import errno
import os

import pytest

from allelegro.errors import said_by_system


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOENT, "a.tsv: no such file; check the path"),
        (errno.ENOSPC, "a.tsv: No space left on device; free some, or write somewhere else"),
        (errno.EROFS, "a.tsv: Read-only file system; write somewhere else"),
        (errno.ENAMETOOLONG, "a.tsv: File name too long; give a shorter name"),
        (errno.EACCES, "a.tsv: Permission denied; check who may read and write it"),
    ],
)
def test_the_file_and_a_remedy_are_named(number: int, said: str) -> None:
    assert said_by_system(OSError(number, os.strerror(number), "a.tsv")) == said


def test_an_error_without_a_file_or_a_number_says_what_it_can() -> None:
    assert said_by_system(OSError(errno.EMFILE, "Too many open files")).startswith(
        "too many open files; raise the limit"
    )
    assert said_by_system(OSError("truncated file")) == "truncated file"
    assert said_by_system(OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b")) == (
        "a and b: Invalid cross-device link"
    )


def test_no_folder_for_temporary_files_is_said() -> None:
    error = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/']")
    assert said_by_system(error) == "no folder for temporary files can be written; set TMPDIR to one that can"
