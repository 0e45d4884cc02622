"""Names of chromosomes in two inputs: chr1 and 1, chrM and MT are one; the one place where they are compared.

Tables of places (TSS, blacklist, lentiMPRA, variants, measured effects) are joined with the run's contigs by
:func:`match_contigs`. Files that define the contigs of a run (FASTA, VCF, alignments, signal, windows) must agree by the
letter, since other tools read them too: :func:`check_contigs` and :func:`check_shared` refuse them with one message.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.errors import DataError

# Alternative, unplaced and decoy contigs of the common human builds, and mitochondria, whose transcripts are not capped.
EXCLUDED_CONTIGS = (
    "*_alt", "*_fix", "*_random", "*_hap[0-9]*", "*_decoy", "chrUn*", "GL0*", "KI27*", "NC_007605", "hs37d5", "chrEBV",
    "HLA-*", "chrM", "chrMT", "MT", "M",
)  # fmt: skip


def is_excluded(name: str) -> bool:
    """Whether a contig is excluded from all counts unless asked otherwise, so that its name and length do not matter."""
    return any(fnmatchcase(name, pattern) for pattern in EXCLUDED_CONTIGS)


def plain_contig(name: str) -> str:
    """A contig's name without the prefix ``chr``; the mitochondrion (``chrM``, ``M``, ``chrMT``) is ``MT``.

    ``1.0``, which spreadsheets and data frames make of a column of numbers with gaps, is ``1``.
    """
    plain = name[3:] if name[:3].lower() == "chr" else name
    if plain.endswith(".0") and plain[:-2].isdecimal():
        plain = plain[:-2]
    return "MT" if plain == "M" else plain


def plain_contigs(names: pd.Series) -> NDArray[np.object_]:
    """:func:`plain_contig` of each of many names, of which few differ."""
    number, distinct = pd.factorize(names.astype(str))
    return np.array([plain_contig(name) for name in distinct], dtype=object)[number]


def match_contigs(names: Iterable[str], present: Iterable[str]) -> dict[str, str | None]:
    """For each of ``names`` the name that ``present`` gives to that contig (its own where both have it), or None."""
    known = list(present)
    exact = set(known)
    plain = {plain_contig(name): name for name in reversed(known)}
    return {name: name if name in exact else plain.get(plain_contig(name)) for name in names}


def contig_hint(wanted: Iterable[str], present: Iterable[str]) -> str:
    """What to do about contigs that are absent: tells another naming from another genome."""
    wanted, present = list(wanted), list(present)
    for name, other in match_contigs(wanted, present).items():
        if other is not None and other != name:
            return (
                f"names differ by the prefix chr (here {name}, there {other}); "
                "use one naming, for example with bcftools annotate --rename-chrs"
            )
    return f"it has {few(present) or 'none'}"


def check_contigs(wanted: Iterable[str], what: str, present: Iterable[str], where: object) -> None:
    """Raise DataError when a contig used by ``what`` (a file name) is not among those ``present`` in ``where``."""
    known = dict.fromkeys(present)
    missing = [name for name in dict.fromkeys(wanted) if name not in known]
    if missing:
        raise DataError(f"{what}: contig {missing[0]} is not in {where}; {contig_hint(missing, known)}")


def check_shared(names: Iterable[str], what: str, present: Iterable[str], where: object) -> None:
    """Raise DataError when ``what`` (a file name) has contigs, but none in common with ``where``."""
    names, present = list(names), list(present)
    if names and set(names).isdisjoint(present):
        hint = contig_hint(names, present)
        raise DataError(
            f"{what}: no contig in common with {where} ({few(names)} against {few(present) or 'none'}); {hint}"
        )


def few(names: Iterable[str], most: int = 3) -> str:
    """The first names of many."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
