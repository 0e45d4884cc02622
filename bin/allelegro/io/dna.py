"""DNA as uint8 codes: A 0, C 1, G 2, T 3, anything else (N) 4."""

import numpy as np
from numpy.typing import NDArray

ALPHABET = "ACGTN"
N = 4

_ENCODE = np.full(256, N, np.uint8)
for _code, _base in enumerate("ACGT"):
    _ENCODE[ord(_base)] = _ENCODE[ord(_base.lower())] = _code
_ENCODE_REFERENCE = _ENCODE.copy()
for _code, _letters in enumerate(("RWMDHV", "YSB", "K")):
    for _letter in _letters:
        _ENCODE_REFERENCE[ord(_letter)] = _ENCODE_REFERENCE[ord(_letter.lower())] = _code
_DECODE = np.frombuffer(ALPHABET.encode(), np.uint8)
_COMPLEMENT = np.array([3, 2, 1, 0, 4], np.uint8)


def encode(sequence: str | bytes) -> NDArray[np.uint8]:
    """Codes of a sequence, shape ``(len(sequence),)``; lower case is accepted, other letters become N."""
    raw = sequence.encode() if isinstance(sequence, str) else sequence
    return _ENCODE[np.frombuffer(raw, np.uint8)]


def encode_reference(sequence: str | bytes) -> NDArray[np.uint8]:
    """Codes of a genome's letters: an IUPAC letter is the first of its bases by alphabet, N stays N.

    So the VCF specification orders for REF (section 1.6.1), so that genome and variants agree where a genome has R or Y.
    """
    raw = sequence.encode() if isinstance(sequence, str) else sequence
    return _ENCODE_REFERENCE[np.frombuffer(raw, np.uint8)]


def decode(codes: NDArray[np.uint8]) -> str:
    """The upper-case string of a one-dimensional array of codes."""
    return _DECODE[codes].tobytes().decode()


def reverse_complement(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reverse complement along the last axis, any leading shape; N stays N."""
    return _COMPLEMENT[codes[..., ::-1]]
