"""What may go wrong by a user's hand or the machine's, in words."""

import errno
import os

_REMEDIES = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "give a file",
    errno.EACCES: "check who may read and write it",
    errno.EPERM: "check who may read and write it",
    errno.EROFS: "write somewhere else",
    errno.ENOSPC: "free some, or write somewhere else",
    errno.EDQUOT: "free some, or write somewhere else",
    errno.EFBIG: "raise the limit (ulimit -f), or write somewhere else",
    errno.EIO: "check the disk",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "a link leads back to itself; give the file itself",
    errno.EMFILE: "raise the limit (ulimit -n), or give the tool fewer --threads",
    errno.ENOSYS: "processes cannot share memory here, as without /dev/shm",
    errno.EAGAIN: "raise the limit of processes (ulimit -u), or give the tool fewer --threads",
    errno.ENOMEM: "give the machine more memory, or the tool fewer --threads",
}


class DataError(Exception):
    """Bad input data: one line that names file, row or position, and what to do.

    The command line prints it as ``error: <message>`` and exits with status 1, without a traceback.
    """


def said_by_system(error: OSError) -> str:
    """An error of the system as one line: the file, what is wrong and what to do."""
    what = (error.strerror or str(error) or type(error).__name__).rstrip(".")
    if what.startswith("No usable temporary directory"):
        return "no folder for temporary files can be written; set TMPDIR to one that can"
    if error.errno == errno.ENOENT:
        what = "no such file"
    remedy = _REMEDIES.get(error.errno or 0)
    said = f"{what}; {remedy}" if remedy else what
    files = [
        os.fsdecode(file) for file in (error.filename, error.filename2) if isinstance(file, str | bytes | os.PathLike)
    ]
    return f"{' and '.join(files)}: {said}" if files else said[:1].lower() + said[1:]
