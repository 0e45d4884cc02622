"""Variants from VCF/BCF, tables and truth tables, in chunks of flat memory; what cannot be scored is counted and named.

Inside the code a variant is a row ``chrom pos ref alt id`` as its file spells it (``pos`` 1-based) plus ``start``
(0-based position of the first replaced base), ``before`` (bases replaced) and ``after`` (bases put in their place);
a deletion may be written the VCF way (``CA`` > ``C``) or as the MPRA tables do (``A`` > ``-``).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from allelegro.errors import DataError
from allelegro.io.tables import COUNT, NAME, POSITION, TEXT, maybe, read_header, read_table, table_chunks
from allelegro.io.vcf import read_sites

VARIANT_COLUMNS = ["chrom", "pos", "ref", "alt", "id"]
CHUNK = 4096
_KINDS = {"chrom": NAME, "pos": POSITION, "ref": TEXT, "alt": TEXT}
ALIASES = {
    "chrom": ("chr", "chromosome"), "pos": ("position",), "ref": ("refallele", "reference"),
    "alt": ("altallele", "alternative"), "id": ("name", "variant", "variant_id", "snp"),
}  # fmt: skip


class Dropped:
    """Counts dropped variants by reason and, when given a path, lists each of them with its reason.

    Use as a context manager; the list appears whole when the block succeeds.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._path = path
        self._partial: Path | None = None
        self._file: TextIO | None = None

    def __enter__(self) -> "Dropped":
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._partial = self._path.with_name(f".partial-{self._path.name}")
            self._file = self._partial.open("w")
            self._file.write("\t".join([*VARIANT_COLUMNS, "reason"]) + "\n")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is None or self._partial is None or self._path is None:
            return
        self._file.close()
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink(missing_ok=True)

    def add(self, rows: pd.DataFrame, reason: str) -> None:
        """Count ``rows`` under ``reason`` and list them."""
        if rows.empty:
            return
        self.counts[reason] += len(rows)
        if self._file is not None:
            rows[VARIANT_COLUMNS].assign(reason=reason).to_csv(
                self._file, sep="\t", index=False, header=False, na_rep="."
            )

    def keep(self, rows: pd.DataFrame, good: ArrayLike, reason: str) -> pd.DataFrame:
        """The rows where ``good`` (a bool a row); the others are dropped for ``reason``."""
        mask = np.asarray(good, dtype=bool)
        self.add(rows[~mask], reason)
        return rows[mask]

    def summary(self) -> str:
        """``ref_mismatch 3, duplicate 1`` or ``none``."""
        return ", ".join(f"{reason} {n:,}" for reason, n in sorted(self.counts.items())) or "none"


def is_vcf(path: Path) -> bool:
    """Whether the name says VCF or BCF."""
    return path.name.lower().endswith((".vcf", ".vcf.gz", ".vcf.bgz", ".bcf"))


def read_variants(path: Path, chunk: int = CHUNK) -> Iterator[pd.DataFrame]:
    """Chunks of ``chrom pos ref alt id`` from a VCF/BCF (one row an alternative allele) or a TSV/CSV (1-based pos).

    Raises DataError for a missing, empty or truncated file, a missing column or a position that is no number.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; expected a VCF or a table with columns chrom pos ref alt")
    rows = _vcf_chunks(path, chunk) if is_vcf(path) else _table_chunks(path, chunk)
    empty = True
    for frame in rows:
        if not frame.empty:
            empty = False
            yield frame
    if empty:
        raise DataError(f"{path}: there are no variants in it")


def chunks_of(table: pd.DataFrame, chunk: int = CHUNK) -> Iterator[pd.DataFrame]:
    """Pieces of a table that is already in memory."""
    for first in range(0, len(table), chunk):
        yield table.iloc[first : first + chunk]


def _table_chunks(path: Path, chunk: int) -> Iterator[pd.DataFrame]:
    """The same of a table, whose columns may be called ``chr``, ``#CHROM``, ``RefAllele``…; a missing id becomes ``.``."""
    for table in table_chunks(path, _KINDS, chunk, optional={"id": TEXT}, aliases=ALIASES):
        yield (table if "id" in table else table.assign(id="."))[VARIANT_COLUMNS]


def _vcf_chunks(path: Path, chunk: int) -> Iterator[pd.DataFrame]:
    rows: list[tuple[str, int, str, str, str]] = []
    for site in read_sites(path):
        rows += [(site.chrom, site.pos, site.ref, alt, site.id) for alt in site.alts or ["."]]
        if len(rows) >= chunk:
            yield pd.DataFrame(rows, columns=VARIANT_COLUMNS)
            rows = []
    if rows:
        yield pd.DataFrame(rows, columns=VARIANT_COLUMNS)


def parse_alleles(chunks: Iterable[pd.DataFrame], dropped: Dropped) -> Iterator[pd.DataFrame]:
    """Add ``start``, ``before`` and ``after`` to every chunk; drop alleles that are no DNA, and repeated variants.

    A repeat is recognised when it follows in the same chunk or at the last position of the chunk before, as in any
    sorted file, so that memory does not grow with the file.
    """
    tail: set[tuple[str, int, str, str]] = set()
    for frame in chunks:
        # pandas tells a repeat within the chunk; the tail tells one across its edge.
        key = ["chrom", "pos", "ref", "alt"]
        repeated = frame.duplicated(key).to_numpy(copy=True)
        if tail:
            _, tail_pos, _, _ = next(iter(tail))
            for i in np.flatnonzero(frame["pos"].to_numpy() == tail_pos):
                repeated[i] |= tuple(frame[key].iloc[i]) in tail
        last = frame.iloc[-1]
        at_last = (frame["chrom"] == last["chrom"]) & (frame["pos"] == last["pos"])
        tail = {row for row in tail if row[:2] == (last["chrom"], last["pos"])}
        tail.update(frame.loc[at_last, key].itertuples(index=False, name=None))
        parsed = with_alleles(dropped.keep(frame, ~repeated, "duplicate"), dropped)
        if not parsed.empty:
            yield parsed


def with_alleles(frame: pd.DataFrame, dropped: Dropped) -> pd.DataFrame:
    """Add ``start``, ``before`` and ``after``; variants whose alleles are no DNA are dropped with their reason."""
    ref, alt = frame["ref"].astype(str).str.upper(), frame["alt"].astype(str).str.upper()
    ref, alt = ref.mask(ref.isin(["-", "."]), ""), alt.mask(alt == "-", "")
    frame = frame.assign(start=frame["pos"] - 1, before=ref, after=alt)
    frame = dropped.keep(frame, ~frame["after"].isin([".", "<*>", "<NON_REF>"]), "no_alternative")
    frame = dropped.keep(frame, frame["after"] != "*", "spanning_deletion")
    frame = dropped.keep(frame, ~frame["after"].str.contains(r"[<>\[\]]"), "symbolic_allele")
    dna = frame["before"].str.fullmatch("[ACGT]*") & frame["after"].str.fullmatch("[ACGT]*")
    frame = dropped.keep(frame, dna, "not_acgt")
    return dropped.keep(frame, frame["before"] != frame["after"], "alt_equals_ref")


def canonical_key(table: pd.DataFrame) -> pd.MultiIndex:
    """A key on which files with different spellings meet: no ``chr``, shared allele ends trimmed, ``-`` for nothing.

    ``chr1 100 CA C`` (VCF) and ``1 101 A -`` (MPRA tables) have one key.
    """
    chrom = table["chrom"].astype(str).str.replace(r"^chr", "", regex=True)
    alleles = [
        _trim(int(pos), str(ref), str(alt))
        for pos, ref, alt in zip(table["pos"], table["ref"], table["alt"], strict=True)
    ]
    pos, ref, alt = zip(*alleles, strict=True) if alleles else ((), (), ())
    return pd.MultiIndex.from_arrays([chrom, pd.Index(pos, dtype="int64"), list(ref), list(alt)])


def _trim(pos: int, ref: str, alt: str) -> tuple[int, str, str]:
    ref, alt = ref.upper().strip("-."), alt.upper().strip("-.")
    if len(ref) == 1 and len(alt) == 1:
        return pos, ref, alt
    while ref and alt and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while ref and alt and ref[0] == alt[0]:
        pos, ref, alt = pos + 1, ref[1:], alt[1:]
    return pos, ref or "-", alt or "-"


def sequences_measured(path: Path, kind: str | None) -> Path | None:
    """A reporter table that brings the sequences it measured (``ref_sequence alt_sequence``), else None."""
    found = kind == "mpra" and {"ref_sequence", "alt_sequence"} <= set(read_header(path))
    return path if found else None


def read_sequence_pairs(path: Path) -> pd.DataFrame:
    """Pairs of allele sequences: ``ref_sequence alt_sequence`` and, when known, ``chrom pos ref alt id``.

    Unknown coordinates become ``.``/0, so that scores keep one layout; gaps (``-``) of aligned alleles are taken out.
    Raises DataError for letters outside ACGTN.
    """
    known = dict.fromkeys(["chrom", "ref", "alt", "id"], TEXT) | {"pos": maybe(COUNT)}
    table = read_table(path, {"ref_sequence": NAME, "alt_sequence": NAME}, optional=known, aliases=ALIASES)
    unknown: dict[str, Any] = {
        "chrom": ".",
        "pos": 0,
        "ref": ".",
        "alt": ".",
        "id": [f"pair{row + 1}" for row in range(len(table))],
    }
    table = table.assign(**{column: value for column, value in unknown.items() if column not in table.columns})
    table["pos"] = table["pos"].fillna(0).astype("int64")
    for column in ("ref_sequence", "alt_sequence"):
        table[column] = table[column].str.upper().str.replace("-", "")
        bad = ~table[column].str.fullmatch("[ACGTN]+")
        if bad.any():
            row = int(bad.to_numpy().argmax())
            raise DataError(f"{path} row {row + 1}: {column} is not a DNA sequence; use letters A C G T N")
    return table[[*VARIANT_COLUMNS, "ref_sequence", "alt_sequence"]]
