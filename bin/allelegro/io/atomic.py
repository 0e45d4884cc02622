"""Outputs appear whole or not at all, and never in place of something that is no output of the same kind.

A file or folder is written alongside its target, brought to the disk (fsync) and renamed. A process that was killed at
once (``kill -9``, a power cut) leaves a ``.partial-…`` behind; the next one that writes into that folder removes it.
"""

import errno
import hashlib
import itertools
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from allelegro.errors import DataError

_PARTIAL, _REPLACED = ".partial-", ".replaced-"
_MARKER = ".allelegro-"
_LONGEST = 40  # characters of a target's name in that of its temporary file, which must not become too long
# What a write says when the disk or a limit is full; the system names no file then.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

_numbers = itertools.count()
_waiting: ContextVar[dict[Path, Path] | None] = ContextVar("waiting", default=None)  # target → its partial file
_inputs: ContextVar[tuple[Path, ...] | None] = ContextVar("inputs", default=None)


@contextmanager
def atomic_path(target: Path, *, at_once: bool = False) -> Iterator[Path]:
    """Yield a temporary path alongside ``target`` (same suffixes) that replaces it when the block succeeds.

    The parent folder is made when absent. On any error the temporary file is removed and ``target`` is untouched. Inside
    :func:`together` the file takes its place at the end of that, unless ``at_once``. Raises DataError for a target
    that is a folder or a device (``/dev/null``), an input of the command (:func:`reading`) or another output of it.
    """
    refuse_input(target)
    if target.exists() and not target.is_file():
        raise DataError(f"{target}: is not a regular file, so no file can take its place; give another path")
    others = None if at_once or _in_partial(target) else _waiting.get()
    if others is not None and target.absolute() in others:
        raise DataError(f"{target}: two outputs have this name; give each its own")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _temporary(_PARTIAL, target)
    try:
        with _named(target, partial):
            yield partial
            if not _in_partial(target):
                _to_disk(partial)
            if others is not None:
                others[target.absolute()] = partial
            else:
                _rename(partial, target)
    finally:
        if others is None or target.absolute() not in others:
            partial.unlink(missing_ok=True)


@contextmanager
def together() -> Iterator[None]:
    """The files of :func:`atomic_path` inside take their places at the end, all of them, or none when anything fails.

    One inside another ends with the outer one.
    """
    outer = _waiting.get()
    waiting: dict[Path, Path] = {}
    token = _waiting.set(waiting)
    try:
        yield
        if outer is None:
            for target, partial in waiting.items():
                _rename(partial, target)
        else:
            outer.update(waiting)
            waiting = {}
    finally:
        _waiting.reset(token)
        for partial in waiting.values():
            partial.unlink(missing_ok=True)


@contextmanager
def apart() -> Iterator[None]:
    """Files inside are no output of the command (another program reads them): each takes its place at once."""
    token = _waiting.set(None)
    try:
        yield
    finally:
        _waiting.reset(token)


def written(target: Path) -> Path:
    """Where an output of :func:`together` is now: under a temporary name until the end."""
    return (_waiting.get() or {}).get(target.absolute(), target)


@contextmanager
def reading(inputs: Iterable[Path]) -> Iterator[None]:
    """Inside, an output that would replace one of ``inputs``, or something in one that is a folder, is refused."""
    token = _inputs.set((*(_inputs.get() or ()), *(path.resolve() for path in inputs)))
    try:
        yield
    finally:
        _inputs.reset(token)


def also_reading(inputs: Iterable[Path]) -> None:
    """Files that an input of the command names, as a sheet does, are inputs, too, until :func:`reading` ends."""
    known = _inputs.get()
    if known is not None:
        _inputs.set((*known, *(path.resolve() for path in inputs)))


def refuse_input(target: Path) -> None:
    """Raise DataError when writing ``target`` would replace an input of the command: see :func:`reading`."""
    here = target.resolve()
    for path in _inputs.get() or ():
        inside = path in here.parents and target.is_file() and _is_whole(path)
        if (path == here or here in path.parents or inside) and target.exists():
            raise DataError(f"{target}: is an input of this command, too; give the output another name")


def _is_whole(folder: Path) -> bool:
    """Whether a folder is one store, model or report, not a folder of such."""
    return any(folder.glob(f"{_MARKER}*")) or any((folder / name).is_file() for name in ("metadata.json", "model.json"))


@contextmanager
def atomic_folder(target: Path, kind: str, listed: Callable[[Path], set[str]] | None = None) -> Iterator[Path]:
    """Yield a temporary folder alongside ``target`` that takes its place when the block succeeds.

    A folder is replaced only when it is empty, or of the same ``kind`` and without a file that is not its own; else
    DataError is raised. So it is for an input of the command (:func:`reading`). What a finished folder's own files are is
    told by a marker of its kind (``.allelegro-KIND``, which lists them) or, where its format lists them anyway, by
    ``listed`` (no file at all: the folder is not of this kind).
    """
    refuse_input(target)
    _refuse_other(target, kind, listed)
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _temporary(_PARTIAL, target)
    try:
        with _named(target, partial):
            partial.mkdir()
            yield partial
            if listed is None:
                files = sorted(path.relative_to(partial).as_posix() for path in _files(partial))
                (partial / f"{_MARKER}{kind}").write_text("".join(f"{name}\n" for name in files), encoding="utf-8")
            if not _in_partial(target):
                for path in partial.rglob("*"):
                    _to_disk(path)
                _to_disk(partial)
            _refuse_other(target, kind, listed)  # what came in meanwhile is not lost either
            _swap(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _refuse_other(target: Path, kind: str, listed: Callable[[Path], set[str]] | None) -> None:
    """Raise DataError unless ``target`` is absent, empty, or holds nothing but what a folder of this kind lists."""
    if not target.exists():
        return
    advice = "is not replaced; give an empty or new folder"
    if not target.is_dir():
        raise DataError(f"{target}: is no folder and {advice}")
    found = {path.relative_to(target).as_posix() for path in _files(target)}
    if not found:
        return
    own = listed(target) if listed is not None else _marked(target / f"{_MARKER}{kind}")
    if not own:
        raise DataError(f"{target}: holds other files (it is no folder of kind {kind}) and {advice}")
    if others := sorted(found - own):
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise DataError(f"{target}: holds other files ({others[0]}{more}) and {advice}")


def _marked(marker: Path) -> set[str]:
    """The files that a marker lists, itself included; none without a marker."""
    if not marker.is_file():
        return set()
    return {marker.name, *marker.read_text(encoding="utf-8", errors="replace").splitlines()}


def _files(folder: Path) -> Iterator[Path]:
    """Everything in a folder and below that is no folder; links are not followed."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path


def _swap(partial: Path, target: Path) -> None:
    """Put a finished folder in the place of an old one: old aside, new in, old away."""
    aside = _temporary(_REPLACED, target)
    if target.exists():
        target.rename(aside)
    try:
        _rename(partial, target)
    except BaseException:
        if aside.exists():
            aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _rename(partial: Path, target: Path) -> None:
    partial.replace(target)
    if not _in_partial(target):
        _to_disk(target.parent)


def _to_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk, where its file system can tell."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno in _FULL:
            raise
    finally:
        os.close(handle)


def _in_partial(target: Path) -> bool:
    """Whether a target is in a folder that is not finished, which is brought to the disk as a whole."""
    return any(parent.name.startswith(_PARTIAL) for parent in target.absolute().parents)


@contextmanager
def _named(target: Path, partial: Path) -> Iterator[None]:
    """Errors of the system name the target: not its temporary file, and not nothing, as where a disk is full."""
    try:
        yield
    except OSError as error:
        name = os.fspath(error.filename) if isinstance(error.filename, str | os.PathLike) else ""
        if str(name).startswith(str(partial)):
            raise OSError(error.errno, error.strerror, str(name).replace(str(partial), str(target), 1)) from None
        # numpy says of a full disk no more than how much it wrote.
        if not name and (error.errno in _FULL or " requested and " in str(error)):
            number = error.errno or errno.ENOSPC
            raise OSError(number, os.strerror(number), str(target)) from None
        raise


def _temporary(prefix: str, target: Path) -> Path:
    """A new name alongside ``target`` with its suffixes; what a killed process left there is removed first."""
    if not _in_partial(target):
        _remove_leftovers(target)
    return target.with_name(f"{prefix}{_machine()}-{os.getpid()}-{next(_numbers)}-{target.name[-_LONGEST:]}")


@cache
def _machine() -> str:
    """Names this machine since it was started and this space of process numbers (a container has its own)."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def _remove_leftovers(target: Path) -> None:
    """Remove what processes of this machine that are dead left in the folder of ``target``.

    A folder that one had put aside, and did not live to replace, gets its name back.
    """
    mine = re.compile(rf"({re.escape(_PARTIAL)}|{re.escape(_REPLACED)}){_machine()}-(\d+)-\d+-(.*)", re.DOTALL)
    with suppress(OSError):
        for path in target.parent.iterdir():
            found = mine.fullmatch(path.name) if path.name.startswith((_PARTIAL, _REPLACED)) else None
            if found is None or _is_alive(int(found[2])):
                continue
            of_target = found[3] == target.name[-_LONGEST:]
            if found[1] == _PARTIAL or (of_target and target.exists()):
                _remove(path)
            elif of_target:
                path.rename(target)


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
