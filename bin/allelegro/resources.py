"""Threads, memory and time: what a tool may use, and what it used."""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE = "ALLELEGRO_COST"
KIB = 1024 if sys.platform == "linux" else 1  # unit of ru_maxrss


@contextmanager
def recorded() -> Iterator[None]:
    """Append a line on what runs inside: start and end (s), CPU seconds, peak memory and peak GPU memory (MiB).

    CPU time and memory are those of this process and the processes it waited for; memory is that of the largest one.
    Without ``ALLELEGRO_COST`` nothing is written.
    """
    start = time.time()
    try:
        yield
    finally:
        if os.environ.get(FILE):
            parts = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
            cpu = sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, parts))
            memory = max(map(peak_memory, parts))
            with Path(os.environ[FILE]).open("a", encoding="utf-8") as file:
                file.write(f"{start:.3f} {time.time():.3f} {cpu:.2f} {memory:.0f} {gpu_memory():.0f}\n")


def peak_memory(who: int = resource.RUSAGE_SELF) -> float:
    """Largest resident set of the process, or of the largest one it waited for, in MiB."""
    return resource.getrusage(who).ru_maxrss * KIB / 2**20


def gpu_memory() -> float:
    """Largest allocation on a GPU in MiB; 0 when none was used."""
    torch = sys.modules.get("torch")
    return torch.cuda.max_memory_allocated() / 2**20 if torch is not None and torch.cuda.is_initialized() else 0.0


def task_cost() -> dict[str, str]:
    """The lines of all tools of this task together: wall and CPU seconds, memory of the largest process."""
    path = Path(os.environ.get(FILE, ""))
    if not path.is_file():
        return {}
    start, end, cpu, memory, gpu = zip(
        *([float(field) for field in line.split()] for line in path.read_text(encoding="utf-8").splitlines()),
        strict=True,
    )
    return {
        "cost.seconds": f"{max(end) - min(start):.1f}",
        "cost.cpu_seconds": f"{sum(cpu):.1f}",
        "cost.memory_mib": f"{max(memory):.0f}",
        "cost.gpu_memory_mib": f"{max(gpu):.0f}",
    }


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
