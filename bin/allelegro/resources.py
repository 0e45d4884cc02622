"""Threads and memory: what a tool may use, and what it used."""

import os
import resource
import sys
import tempfile
from pathlib import Path

KIB = 1024 if sys.platform == "linux" else 1  # unit of ru_maxrss


def peak_memory(who: int = resource.RUSAGE_SELF) -> float:
    """Largest resident set of the process, or of the largest one it waited for, in MiB."""
    return resource.getrusage(who).ru_maxrss * KIB / 2**20


def gpu_memory() -> float:
    """Largest allocation on a GPU in MiB; 0 when none was used."""
    torch = sys.modules.get("torch")
    return torch.cuda.max_memory_allocated() / 2**20 if torch is not None and torch.cuda.is_initialized() else 0.0


def writable_numba_cache() -> None:
    """Numba keeps compiled kernels beside the library; where that is read-only, in the temporary folder of this user."""
    library = Path(__file__).resolve().parent
    if "NUMBA_CACHE_DIR" not in os.environ and not os.access(library, os.W_OK):
        os.environ["NUMBA_CACHE_DIR"] = str(Path(tempfile.gettempdir()) / f"allelegro-numba-{os.getuid()}")


def limit_threads(threads: int) -> None:
    """Hold every numerical library to ``threads``; call it before importing any of them."""
    for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
