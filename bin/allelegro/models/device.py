"""Where and in which precision to compute: device choice, autocast, and the C library's allocator."""

import ctypes
import logging
import os
import shutil
import sysconfig
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path

import torch

from allelegro.errors import DataError

log = logging.getLogger(__name__)

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def choose_device(name: str) -> torch.device:
    """The device for ``auto``, ``cpu`` or ``cuda`` (``cuda:1``); says what it took.

    Under ``torchrun`` each process takes the GPU of its local rank. Raises DataError for an unknown name and when a GPU is
    asked for where there is none.
    """
    available = torch.cuda.is_available()
    if name == "auto":
        name = "cuda" if available else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DataError(f"--device {name}: unknown; choose auto, cpu or cuda") from None
    if device.type not in ("cpu", "cuda"):
        raise DataError(f"--device {name}: not supported; choose auto, cpu or cuda")
    if device.type == "cuda" and (not available or (device.index or 0) >= torch.cuda.device_count()):
        raise DataError(
            f"--device {name}: this machine has {torch.cuda.device_count()} GPU(s); use --device auto or cpu"
        )
    log.info("device: %s", torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu")
    return device


def can_compile() -> bool:
    """Whether ``torch.compile`` finds what it builds GPU kernels with: a C compiler and Python's headers."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    return compiler is not None and Path(sysconfig.get_path("include"), "Python.h").is_file()


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the hardware multiplies it natively, otherwise None (float32); emulated bfloat16 is slower."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    return torch.bfloat16 if _cpu_has_bfloat16() else None


@cache
def _cpu_has_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Autocast to ``dtype``, or a context that does nothing for None."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory instead of returning it to the system; elsewhere nothing changes.

    By default every large tensor is a fresh mapping whose pages the kernel clears one fault at a time, which can take
    longer than the arithmetic. The setting lasts for this process.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
