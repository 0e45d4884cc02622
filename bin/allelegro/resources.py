"""Threads and memory: what a tool may use, and what it used."""

import atexit
import ctypes
import os
import resource
import shutil
import signal
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
KIB = 1024 if sys.platform == "linux" else 1  # unit of ru_maxrss


def peak_memory(who: int = resource.RUSAGE_SELF) -> float:
    """Largest resident set of the process, or of the largest one it waited for, in MiB."""
    return resource.getrusage(who).ru_maxrss * KIB / 2**20


def gpu_memory() -> float:
    """Largest allocation on a GPU in MiB; 0 when none was used."""
    torch = sys.modules.get("torch")
    return torch.cuda.max_memory_allocated() / 2**20 if torch is not None and torch.cuda.is_initialized() else 0.0


def private_caches() -> None:
    """Give numba, where its folder in the library is read-only, a cache that no other user can write to.

    Numba runs what is in its cache. A folder of the environment is taken when it is private, otherwise a fresh one.
    """
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given is None and os.access(Path(__file__).resolve().parent, os.W_OK):
        return
    usual = Path(tempfile.gettempdir()) / f"allelegro-numba-{os.getuid()}"
    os.environ["NUMBA_CACHE_DIR"] = str(private_folder(Path(given) if given else usual))


def private_folder(path: Path) -> Path:
    """``path``, made when absent, if it is a folder of this user that nobody else may write to; else a fresh temporary one."""
    with suppress(OSError):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
            return path
    fresh = Path(tempfile.mkdtemp(prefix="allelegro-"))
    atexit.register(shutil.rmtree, fresh, ignore_errors=True)
    return fresh


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory, of the machine or a GPU, or a limit of threads is at its end.

    Torch says so by RuntimeError, of the CPU by its text alone.
    """
    said = str(error).lower()
    phrases = ("out of memory", "can't allocate memory", "not enough memory", "unable to allocate", "new thread")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(phrase in said for phrase in phrases)
    )


class Ended(BaseException):
    """A signal asked the process to end; raised where it arrives, so that everything is cleaned up on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise :class:`Ended`; one that is ignored (nohup) stays so, as does a second one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    handled = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    def end(number: int, frame: object) -> None:
        for other in handled:
            signal.signal(other, signal.SIG_IGN)
        raise Ended(number)

    try:
        for number in handled:
            signal.signal(number, end)
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])


def end_with_parent() -> None:
    """For ``preexec_fn`` of a program that is run: it ends when this process does, even by ``kill -9`` (on Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)


def limit_threads(threads: int) -> None:
    """Hold every numerical library to ``threads``; call it before importing any of them."""
    for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
