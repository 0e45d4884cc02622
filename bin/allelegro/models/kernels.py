"""Passes over a layer's memory on the CPU, each doing all that its numbers are read for at once.

Layers are ``[n, width, channels]`` (channels-last memory), float32 or the raw bits of bfloat16 (uint16); sums are float32, kept for
every sequence apart, so that results do not depend on the number of threads. torch's own operations pass over memory once for
each of normalising, activating, averaging and gating, and again for each of their gradients, which is most of a training step.

Every kernel takes its arrays and a range of sequences; :func:`by_sequences` deals the ranges out to torch's number of threads.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numba import njit, types
from numba.extending import overload
from torch import Tensor

PIECE = 8  # sequences whose products are summed in float32 before they meet the others

_ONE, _LOG2_E, _LARGEST = np.float32(1), np.float32(np.log2(np.e)), np.float32(126)
# Arithmetic may be reordered, which vector instructions need; what is not a number stays so.
_kernel = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"})
_inlined = njit(inline="always", error_model="numpy")


def memory(x: Tensor) -> np.ndarray[Any, Any]:
    """The memory of ``[n, channels, 1, width]`` as ``[n, width, channels]``; copied only when laid out otherwise.

    float32, and of bfloat16 the bits (uint16).
    """
    rows = x.detach().squeeze(2).transpose(1, 2).contiguous()
    return rows.numpy() if rows.dtype == torch.float32 else rows.view(torch.uint16).numpy()


def empty(x: Tensor) -> Tensor:
    """A new tensor like ``x`` in channels-last memory."""
    return torch.empty_like(x, memory_format=torch.channels_last)


def by_sequences(kernel: Callable[..., None], *arrays: Any) -> None:
    """Call ``kernel(*arrays, start, stop)`` on ranges of sequences (whole pieces), one range a thread."""
    threads, n = torch.get_num_threads(), len(arrays[0])
    step = -(-n // (threads * PIECE)) * PIECE
    ranges = list(pairwise([*range(0, n, step), n]))
    others = [_pool(threads).submit(kernel, *arrays, *part) for part in ranges[1:]]
    kernel(*arrays, *ranges[0])
    for other in others:
        other.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def _wide(stored: Any) -> Any:
    """What is stored (float32, or the bits of bfloat16) as float32."""


def _narrow(value: Any, layer: Any) -> Any:
    """float32 as it is stored in ``layer``: of bfloat16 the nearest, ties to even."""


@overload(_wide, inline="always")
def _wide_of(stored):  # type: ignore[no-untyped-def]
    if stored == types.float32:
        return lambda stored: stored
    return lambda stored: np.uint32(np.uint32(stored) << np.uint32(16)).view(np.float32)


@overload(_narrow, inline="always")
def _narrow_of(value, layer):  # type: ignore[no-untyped-def]
    if layer.dtype == types.float32:
        return lambda value, layer: np.float32(value)

    def rounded(value, layer):  # type: ignore[no-untyped-def]
        bits = np.float32(value).view(np.uint32)
        return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))

    return rounded


@_inlined
def _sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-x)), the exponential to a relative 1e-8: 2 to the whole part by its bits, to the rest by a polynomial."""
    power = -x * _LOG2_E
    power = power if power < _LARGEST else _LARGEST
    power = power if power > -_LARGEST else -_LARGEST
    whole = np.int32(power + np.float32(127.5))
    rest = power - (np.float32(whole) - np.float32(127))
    series = np.float32(1.5252734e-5)
    series = series * rest + np.float32(1.5403530e-4)
    series = series * rest + np.float32(1.3333558e-3)
    series = series * rest + np.float32(9.6181291e-3)
    series = series * rest + np.float32(5.5504109e-2)
    series = series * rest + np.float32(2.4022651e-1)
    series = series * rest + np.float32(6.9314718e-1)
    series = series * rest + _ONE
    return _ONE / (_ONE + series * np.uint32(np.uint32(whole) << np.uint32(23)).view(np.float32))


@_kernel
def moments(x, sums, start, stop):  # type: ignore[no-untyped-def]
    """Sums of values and of their squares, ``sums`` ``[n, 2, channels]``."""
    for i in range(start, stop):
        sums[i] = 0
        for t in range(x.shape[1]):
            for c in range(x.shape[2]):
                value = _wide(x[i, t, c])
                sums[i, 0, c] += value
                sums[i, 1, c] += value * value


@_kernel
def scaled_silu(x, result, scale, shift, start, stop):  # type: ignore[no-untyped-def]
    """SiLU of ``x · scale + shift`` (``[channels]``)."""
    for i in range(start, stop):
        for t in range(x.shape[1]):
            for c in range(x.shape[2]):
                y = _wide(x[i, t, c]) * scale[c] + shift[c]
                result[i, t, c] = _narrow(y * _sigmoid(y), result)


@_kernel
def silu(x, start, stop):  # type: ignore[no-untyped-def]
    """SiLU in place. (Given as two arrays that are one, it would not be vectorised.)"""
    for i in range(start, stop):
        for t in range(x.shape[1]):
            for c in range(x.shape[2]):
                y = _wide(x[i, t, c])
                x[i, t, c] = _narrow(y * _sigmoid(y), x)


@_kernel
def gate(x, scale, start, stop):  # type: ignore[no-untyped-def]
    """``x · scale`` in place, with numbers of each sequence and channel, ``[n, channels]``."""
    for i in range(start, stop):
        for t in range(x.shape[1]):
            for c in range(x.shape[2]):
                x[i, t, c] = _narrow(_wide(x[i, t, c]) * scale[i, c], x)


@_kernel
def silu_sums(x, sums, start, stop):  # type: ignore[no-untyped-def]
    """SiLU in place, and its sums over positions, ``[n, channels]``."""
    for i in range(start, stop):
        sums[i] = 0
        for t in range(x.shape[1]):
            for c in range(x.shape[2]):
                y = _wide(x[i, t, c])
                activated = y * _sigmoid(y)
                sums[i, c] += activated
                x[i, t, c] = _narrow(activated, x)


@_kernel
def silu_max(x, result, size, start, stop):  # type: ignore[no-untyped-def]
    """The largest SiLU of each ``size`` neighbours; a remainder is dropped."""
    largest = np.empty(x.shape[2], np.float32)
    for i in range(start, stop):
        for t in range(result.shape[1]):
            for c in range(x.shape[2]):
                y = _wide(x[i, t * size, c])
                largest[c] = y * _sigmoid(y)
            for offset in range(1, size):
                for c in range(x.shape[2]):
                    y = _wide(x[i, t * size + offset, c])
                    y *= _sigmoid(y)
                    largest[c] = y if y > largest[c] else largest[c]
            for c in range(x.shape[2]):
                result[i, t, c] = _narrow(largest[c], result)


@_kernel
def scaled_silu_gradient(x, gradient, inner, sums, scale, shift, start, stop):  # type: ignore[no-untyped-def]
    """The gradient before the SiLU, and its sums and those of its products with ``x``: ``sums`` ``[n, 2, channels]``."""
    for i in range(start, stop):
        sums[i] = 0
        for t in range(x.shape[1]):
            for c in range(x.shape[2]):
                value = _wide(x[i, t, c])
                y = value * scale[c] + shift[c]
                gate = _sigmoid(y)
                before = _wide(gradient[i, t, c]) * gate * (_ONE + y * (_ONE - gate))
                sums[i, 0, c] += before
                sums[i, 1, c] += before * value
                inner[i, t, c] = _narrow(before, inner)


@_kernel
def combine(first, second, a, b, c0, start, stop):  # type: ignore[no-untyped-def]
    """``first · a + second · b + c0`` (``[channels]``) in the place of ``first``."""
    for i in range(start, stop):
        for t in range(first.shape[1]):
            for c in range(first.shape[2]):
                first[i, t, c] = _narrow(_wide(first[i, t, c]) * a[c] + _wide(second[i, t, c]) * b[c] + c0[c], first)


@_kernel
def position_sums(x, sums, start, stop):  # type: ignore[no-untyped-def]
    """Sums over positions, ``[n, channels]``."""
    for i in range(start, stop):
        sums[i] = 0
        for t in range(x.shape[1]):
            for c in range(x.shape[2]):
                sums[i, c] += _wide(x[i, t, c])


@_kernel
def product_sums(x, other, sums, start, stop):  # type: ignore[no-untyped-def]
    """Sums over positions of two layers' products, ``[n, channels]``."""
    for i in range(start, stop):
        sums[i] = 0
        for t in range(x.shape[1]):
            for c in range(x.shape[2]):
                sums[i, c] += _wide(x[i, t, c]) * _wide(other[i, t, c])


@_kernel
def scaled(x, result, scale, shift, start, stop):  # type: ignore[no-untyped-def]
    """``x · scale + shift`` with numbers of each sequence and channel, ``[n, channels]``."""
    for i in range(start, stop):
        for t in range(x.shape[1]):
            for c in range(x.shape[2]):
                result[i, t, c] = _narrow(_wide(x[i, t, c]) * scale[i, c] + shift[i, c], result)


@_kernel
def tap_sums(x, gradient, sums, start, stop):  # type: ignore[no-untyped-def]
    """Sums of the gradient's products with ``x`` shifted by every tap of a centred kernel, ``sums`` ``[pieces, taps, channels]``."""
    width, channels, taps = x.shape[1], x.shape[2], sums.shape[1]
    half = taps // 2
    padded = np.zeros((width + 2 * half, channels), np.float32)
    row = np.empty(channels, np.float32)
    for i in range(start, stop):
        piece = sums[i // PIECE]
        if i % PIECE == 0:
            piece[:] = 0
        for t in range(width):
            for c in range(channels):
                padded[t + half, c] = _wide(x[i, t, c])
        for t in range(width):
            for c in range(channels):
                row[c] = _wide(gradient[i, t, c])
            for tap in range(taps):
                for c in range(channels):
                    piece[tap, c] += padded[t + tap, c] * row[c]
