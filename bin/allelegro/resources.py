"""Threads and memory: what a tool may use, and what it used."""

import atexit
import os
import resource
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

KIB = 1024 if sys.platform == "linux" else 1  # unit of ru_maxrss


def peak_memory(who: int = resource.RUSAGE_SELF) -> float:
    """Largest resident set of the process, or of the largest one it waited for, in MiB."""
    return resource.getrusage(who).ru_maxrss * KIB / 2**20


def gpu_memory() -> float:
    """Largest allocation on a GPU in MiB; 0 when none was used."""
    torch = sys.modules.get("torch")
    return torch.cuda.max_memory_allocated() / 2**20 if torch is not None and torch.cuda.is_initialized() else 0.0


def private_caches() -> None:
    """Give numba (where its folder in the library is read-only) and matplotlib caches that no other user can write to.

    Numba runs what is in its cache. A folder of the environment is taken when it is private, otherwise a fresh one.
    """
    library = Path(__file__).resolve().parent
    for variable, name in (("NUMBA_CACHE_DIR", "numba"), ("MPLCONFIGDIR", "matplotlib")):
        given = os.environ.get(variable)
        if given is None and name == "numba" and os.access(library, os.W_OK):
            continue
        usual = Path(tempfile.gettempdir()) / f"allelegro-{name}-{os.getuid()}"
        os.environ[variable] = str(private_folder(Path(given) if given else usual))


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


def limit_threads(threads: int) -> None:
    """Hold every numerical library to ``threads``; call it before importing any of them."""
    for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
