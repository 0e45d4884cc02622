"""Variants from VCF/BCF and tables, in chunks of flat memory; what cannot be scored is counted and named.

Inside the code a variant is a row ``chrom pos ref alt id`` as its file spells it (``pos`` 1-based) plus ``start``
(0-based position of the first replaced base), ``before`` (bases replaced) and ``after`` (bases put in their place);
a deletion may be written the VCF way (``CA`` > ``C``) or as the MPRA tables do (``A`` > ``-``).
"""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from allelegro.errors import DataError
from allelegro.io.atomic import atomic_path
from allelegro.io.compression import open_binary
from allelegro.io.contigs import plain_contig
from allelegro.io.tables import COUNT, NAME, POSITION, TEXT, maybe, read_table, table_chunks, write_table
from allelegro.io.vcf import read_sites

VARIANT_COLUMNS = ["chrom", "pos", "ref", "alt", "id"]
CHUNK = 4096  # variants that are scored together
SHARD_CHUNK = 256  # of a shard: small, so that shards of a small set share its variants
SCORED = "scored"
SEEN = "seen"  # of the scored ones, in counts: training of the networks behind the score saw them
SEEN_SAID = "of those scored; training saw their place, so these are no held-out predictions"
# Why a variant has no score, by its status.
REASONS = {
    "no_alternative": "there is no alternative allele",
    "spanning_deletion": "the allele (*) is part of a deletion that another record holds",
    "symbolic_allele": "the allele is symbolic and its sequence is not given",
    "not_acgt": "an allele has letters other than A, C, G and T",
    "alt_equals_ref": "both alleles are the same",
    "contig_not_in_fasta": "the genome has no such chromosome",
    "beyond_contig_end": "the position is beyond the end of the chromosome",
    "ref_mismatch": "the genome has other bases at this position than REF",
    "allele_longer_than_window": "an allele is longer than half of what the model reads",
}
ALIASES = {
    "chrom": ("chr", "chromosome", "contig"), "pos": ("position",), "ref": ("refallele", "reference", "ref_allele"),
    "alt": ("altallele", "alternative", "alternate", "alt_allele"),
    "id": ("name", "variant", "variant_id", "snp", "rsid"),
    "ref_sequence": ("ref_seq",), "alt_sequence": ("alt_seq",),
}  # fmt: skip
_KINDS = {"chrom": TEXT, "pos": POSITION, "ref": TEXT, "alt": TEXT}


class Dropped:
    """Counts dropped variants by reason and, when given a path, lists each of them with its reason.

    Use as a context manager; the list appears whole when the block succeeds. With ``keep_rows`` what was dropped is
    kept until it is taken, so that each variant of a chunk can be given back with its status.
    """

    def __init__(self, path: Path | None = None, keep_rows: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self._recent: list[pd.DataFrame] | None = [] if keep_rows else None
        self._path = path
        self._open = ExitStack()
        self._file: TextIO | None = None

    def __enter__(self) -> "Dropped":
        if self._path is not None:
            partial = self._open.enter_context(atomic_path(self._path))
            self._file = self._open.enter_context(partial.open("w", encoding="utf-8"))
            self._file.write("\t".join([*VARIANT_COLUMNS, "reason"]) + "\n")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.__exit__(kind, error, at)

    def add(self, rows: pd.DataFrame, reason: str) -> None:
        """Count ``rows`` under ``reason`` and list them."""
        if rows.empty:
            return
        self.counts[reason] += len(rows)
        if self._recent is not None:
            self._recent.append(rows[VARIANT_COLUMNS].assign(status=reason))
        if self._file is not None:
            rows[VARIANT_COLUMNS].assign(reason=reason).to_csv(
                self._file, sep="\t", index=False, header=False, na_rep=".", quoting=csv.QUOTE_NONE
            )

    def take(self) -> pd.DataFrame:
        """What was dropped since the last call: ``VARIANT_COLUMNS`` and ``status``, by the rows' own index."""
        recent, self._recent = self._recent or [], []
        return pd.concat(recent) if recent else pd.DataFrame(columns=[*VARIANT_COLUMNS, "status"])

    def keep(self, rows: pd.DataFrame, good: ArrayLike, reason: str) -> pd.DataFrame:
        """The rows where ``good`` (a bool a row); the others are dropped for ``reason``."""
        mask = np.asarray(good, dtype=bool)
        self.add(rows[~mask], reason)
        return rows[mask]

    def summary(self) -> str:
        """``duplicate 1, ref_mismatch 3`` or ``none``."""
        return summary(self.counts)


@dataclass(frozen=True)
class Counts:
    """How many variants were scored, and dropped for each reason; ``seen`` of the scored ones training saw."""

    scored: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    seen: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.scored + other.scored, self.dropped + other.dropped, self.seen + other.seen)

    def summary(self) -> str:
        """``ref_mismatch 3, not_acgt 1`` or ``none``."""
        return summary(self.dropped)

    def said(self) -> str:
        """What happened in words: ``5 of 9 variants scored; dropped: ref_mismatch 4 (the genome has …)``."""
        total = self.scored + self.dropped.total()
        seen = f"; of these training saw {self.seen:,} (column seen): no held-out predictions" if self.seen else ""
        return f"{self.scored:,} of {total:,} variants scored{seen}; dropped: {_explained(self.dropped)}"

    def require_scores(self, source: object) -> None:
        """Raise DataError when nothing was scored."""
        if not self.scored:
            raise DataError(f"{source}: no variant was left to score; dropped: {_explained(self.dropped)}")


def summary(dropped: Counter[str]) -> str:
    """``not_acgt 1, ref_mismatch 3`` or ``none``."""
    return ", ".join(f"{reason} {n:,}" for reason, n in sorted(dropped.items())) or "none"


def _explained(dropped: Counter[str]) -> str:
    """:func:`summary` with each reason in words."""
    return (
        ", ".join(
            f"{status} {n:,} ({REASONS[status]})" if status in REASONS else f"{status} {n:,}"
            for status, n in sorted(dropped.items())
        )
        or "none"
    )


def write_counts(counts: Mapping[str, Counts], path: Path) -> None:
    """Write a table ``model status variants reason``: of each model how many were scored, ``seen`` of these where there
    are any, then each reason in words."""
    said = {**REASONS, SEEN: SEEN_SAID}
    rows = [
        (model, status, n, said.get(status, ""))
        for model, found in counts.items()
        for status, n in [
            (SCORED, found.scored),
            *([(SEEN, found.seen)] if found.seen else []),
            *sorted(found.dropped.items()),
        ]
    ]
    write_table(pd.DataFrame(rows, columns=["model", "status", "variants", "reason"]), path)


def read_counts(paths: Iterable[Path]) -> dict[str, Counts]:
    """What :func:`write_counts` wrote, shards added up by model; DataError for anything else."""
    found: dict[str, Counts] = {}
    for path in paths:
        table = read_table(path, {"model": NAME, "status": NAME, "variants": COUNT})
        for model, rows in table.groupby("model", sort=False):
            dropped = Counter(dict(zip(rows["status"], rows["variants"].tolist(), strict=True)))
            scored, seen = dropped.pop(SCORED, 0), dropped.pop(SEEN, 0)
            found[str(model)] = found.get(str(model), Counts()) + Counts(scored, dropped, seen)
    return found


def require_any_scores(counts: Mapping[str, Counts], source: object) -> None:
    """Raise DataError when no model scored a variant, with what each dropped; see :meth:`Counts.require_scores`."""
    if not any(found.scored for found in counts.values()):
        for model, found in counts.items():
            found.require_scores(source if len(counts) == 1 else f"{source}, {model}")


def is_vcf(path: Path) -> bool:
    """Whether the file begins as a VCF or BCF does, whatever its name; DataError when it cannot be read."""
    with open_binary(path) as file:
        start = file.read(64).removeprefix(b"\xef\xbb\xbf")
    return start.startswith((b"##fileformat=VCF", b"BCF"))


def read_variants(path: Path, chunk: int = CHUNK) -> Iterator[pd.DataFrame]:
    """Chunks of ``chrom pos ref alt id`` from a VCF/BCF or a TSV/CSV (1-based pos): one row an alternative allele.

    Each but the last has ``chunk`` rows.

    Raises DataError for a missing, empty or truncated file, a missing column or a position that is no number.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; expected a VCF or a table with columns chrom pos ref alt")
    rows = _vcf_chunks(path, chunk) if is_vcf(path) else _of_size(_table_chunks(path, chunk), chunk)
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
    """Several alternatives in one cell are split as in a VCF; a missing id becomes ``.``."""
    for table in table_chunks(path, _KINDS, chunk, optional={"id": TEXT}, aliases=ALIASES):
        table = table if "id" in table else table.assign(id=".")
        if table["alt"].str.contains(",", regex=False).any():
            table = table.assign(alt=table["alt"].str.split(",")).explode("alt", ignore_index=True)
            table = table.assign(alt=table["alt"].str.strip())
        yield table[VARIANT_COLUMNS]


def _of_size(frames: Iterable[pd.DataFrame], size: int) -> Iterator[pd.DataFrame]:
    """The rows of frames in frames of ``size`` (the last may be smaller)."""
    rest = pd.DataFrame()
    for frame in frames:
        rest = pd.concat([rest, frame], ignore_index=True)
        while len(rest) >= size:
            yield rest.iloc[:size]
            rest = rest.iloc[size:].reset_index(drop=True)
    yield rest


def _vcf_chunks(path: Path, chunk: int) -> Iterator[pd.DataFrame]:
    rows = ((site.chrom, site.pos, site.ref, alt, site.id) for site in read_sites(path) for alt in site.alts or ["."])
    while part := list(islice(rows, chunk)):
        yield pd.DataFrame(part, columns=VARIANT_COLUMNS)


def parse_alleles(
    chunks: Iterable[pd.DataFrame],
    dropped: Dropped,
    shard: tuple[int, int] = (1, 1),
    source: object = "variants",
) -> Iterator[pd.DataFrame]:
    """Add ``start``, ``before`` and ``after`` to the chunks of a shard; drop alleles that are no DNA.

    Shard (i, n) has every n-th chunk, from the i-th on; of each a frame comes, if an empty one. All chunks are parsed,
    so that a file of which nothing can be read is a DataError with the reasons, whatever the shard.
    """
    index, total = shard
    elsewhere = Dropped()
    readable = 0
    for number, frame in enumerate(chunks):
        mine = number % total == index - 1
        parsed = with_alleles(frame, dropped if mine else elsewhere)
        readable += len(parsed)
        if mine:
            yield parsed
    if not readable:
        Counts(0, elsewhere.counts + dropped.counts).require_scores(source)


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
    chrom = table["chrom"].astype(str).map(plain_contig)
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


def read_sequence_pairs(path: Path) -> pd.DataFrame:
    """Pairs of allele sequences: ``ref_sequence alt_sequence`` and, when known, ``chrom pos ref alt id``.

    Unknown coordinates become ``.``/0, so that scores keep one layout; gaps (``-``) of aligned alleles are taken out.
    Raises DataError for letters outside ACGTN.
    """
    table = read_table(
        path, {"ref_sequence": TEXT, "alt_sequence": TEXT},
        optional={**_KINDS, "pos": maybe(COUNT), "id": TEXT}, aliases=ALIASES,
    )  # fmt: skip
    if "pos" in table:
        table = table.assign(pos=table["pos"].fillna(0).astype("int64"))
    unknown: dict[str, Any] = {
        "chrom": ".",
        "pos": 0,
        "ref": ".",
        "alt": ".",
        "id": [f"pair{row + 1}" for row in range(len(table))],
    }
    table = table.assign(**{column: value for column, value in unknown.items() if column not in table.columns})
    for column in ("ref_sequence", "alt_sequence"):
        table[column] = dna(table[column], f"column {column}", path)
    return table[[*VARIANT_COLUMNS, "ref_sequence", "alt_sequence"]]


def dna(sequences: pd.Series, what: str, source: object) -> pd.Series:
    """Sequences in capital letters without gaps (``-``); DataError naming the first row, by its index, that is no DNA."""
    plain = sequences.str.upper().str.replace("-", "", regex=False)
    bad = ~plain.str.fullmatch("[ACGTN]+")
    if bad.any():
        row, text = bad.index[bad][0], sequences[bad].iloc[0]
        raise DataError(
            f"{source} row {row + 1}, {what}: '{text[:20]}' is not a DNA sequence; use the letters A C G T N"
        )
    return plain
