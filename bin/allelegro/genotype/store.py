"""The haplotype store: each distinct haplotype of a window once, and which of them every donor carries.

A folder: ``windows.bed``; ``sequences.npy`` uint8 codes ``[rows, width]``; ``offsets.npy`` int64 ``[windows + 1]``;
``index.npy`` unsigned ``[windows, donors, 2]``, the row within the window, row 0 the reference; ``variants.tsv``, the
alleles in use (``pos`` 1-based; ``start end`` the 0-based interval replaced by ``bases``); ``allele_offsets.npy`` int64
``[rows + 1]`` and ``alleles.npy`` int32, the lines of ``variants.tsv`` that each row carries; ``donors.tsv``, genotype
counts; ``metadata.json``, written last.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from allelegro.errors import DataError
from allelegro.io.arrays import load_array, save_array
from allelegro.io.checksums import sha256
from allelegro.io.tables import COUNT, NAME, TEXT, WHOLE, read_table
from allelegro.io.windows import read_windows

if TYPE_CHECKING:
    from allelegro.genotype.dataset import HaplotypeDataset

FORMAT = "allelegro-haplotypes"
VERSION = 1
ARRAYS = ("sequences", "offsets", "index", "allele_offsets", "alleles")
DONOR_COUNTS = ("called", "heterozygous", "missing", "half_missing", "unphased", "haploid")
VARIANT_COLUMNS = ("chrom", "pos", "ref", "alt", "start", "end", "bases")
REORDER_STEP = 1024
ABSENT = -1
COMMON = 0.1  # of the donors carry an allele that divides them, and as many carry another; at least FEWEST
FEWEST = 2
AGAIN = "run extract_haplotypes.py again"


class HaplotypeStore:
    """Random access to haplotypes; every array is a memory map, nothing is read before it is asked for.

    Attributes: ``windows`` (DataFrame), ``donors``, ``width``, ``sequences`` ``[rows, width]``, ``offsets``
    ``[windows + 1]``, ``index`` ``[windows, donors, 2]``, ``metadata``.
    """

    def __init__(self, path: str | os.PathLike[str], *, verify: bool = False) -> None:
        """Open a store after checking that it is whole: every file of its recorded size, every array of its shape.

        With ``verify``, for training, evaluation and scoring, :meth:`verify` is called, too. Raises DataError when
        ``path`` is not a store, was left by an interrupted run, or has changed since.
        """
        folder = self.folder = Path(path)
        metadata = self.metadata = _read_metadata(folder)
        for name, size in metadata["sizes"].items():
            file = folder / name
            if not file.is_file() or file.stat().st_size != size:
                raise DataError(f"{file}: missing or not of its recorded {size} bytes; {AGAIN}")
        if sha256(folder / "windows.bed") != metadata["checksums"]["windows.bed"]:
            raise DataError(f"{folder / 'windows.bed'}: changed since the store was made; {AGAIN}")
        self.donors: list[str] = metadata["donors"]
        self.width: int = metadata["width"]
        self.sequences: NDArray[np.uint8] = load_array(folder / "sequences.npy", AGAIN)
        self.offsets: NDArray[np.int64] = load_array(folder / "offsets.npy", AGAIN)
        self.index: NDArray[np.unsignedinteger[Any]] = load_array(folder / "index.npy", AGAIN)
        self._check_shapes()
        if verify:
            self.verify()

    def dataset(
        self,
        *,
        windows: ArrayLike | None = None,
        donors: list[str] | None = None,
        targets: ArrayLike | None = None,
    ) -> "HaplotypeDataset":
        """The store as a torch Dataset; see :class:`allelegro.genotype.dataset.HaplotypeDataset`."""
        from allelegro.genotype.dataset import HaplotypeDataset  # torch is no need of those who make stores

        return HaplotypeDataset(self, windows=windows, donors=donors, targets=targets)

    def _check_shapes(self) -> None:
        rows, windows = len(self.sequences), len(self.windows)
        for name, array, kind, shape in (
            ("sequences", self.sequences, "u", (rows, self.width)),
            ("offsets", self.offsets, "i", (windows + 1,)),
            ("index", self.index, "u", (windows, len(self.donors), 2)),
            ("allele_offsets", self.allele_offsets, "i", (rows + 1,)),
            ("alleles", self.alleles, "i", (len(self.alleles),)),
        ):
            if array.dtype.kind != kind or array.shape != shape:
                raise DataError(f"{self.folder / name}.npy: {array.dtype} {array.shape} instead of {shape}; {AGAIN}")

    @cache  # noqa: B019 (a store lives as long as its run)
    def checksum(self, name: str) -> str:
        """SHA-256 of a file of the store; raises DataError when it is not the one recorded when the store was made."""
        found = sha256(self.folder / name)
        if self.metadata["checksums"].get(name, found) != found:
            raise DataError(f"{self.folder / name}: checksum differs; {AGAIN}")
        return found

    def verify(self) -> None:
        """Compare every file with its checksum, and values that index others with their ranges.

        Raises DataError at the first that differs. Costs one reading of the store: about 2 s a GB.
        """
        for name in self.metadata["checksums"]:
            self.checksum(name)
        rows = np.diff(self.offsets)
        within = all(
            (
                self.index[first : first + REORDER_STEP].max(axis=(1, 2), initial=0)
                < rows[first : first + REORDER_STEP]
            ).all()
            for first in range(0, len(self), REORDER_STEP)
        )
        for name, good in (
            ("offsets", _are_offsets(self.offsets, len(self.sequences)) and (rows > 0).all()),
            ("index", within),
            ("allele_offsets", _are_offsets(self.allele_offsets, len(self.alleles))),
            ("alleles", not len(self.alleles) or 0 <= self.alleles.min() <= self.alleles.max() < self._n_variants),
        ):
            if not good:
                raise DataError(f"{self.folder / name}.npy: values out of range; {AGAIN}")

    def fact(self, key: str) -> Any:
        """A value of the metadata; raises DataError where the store has none."""
        if key not in self.metadata:
            raise DataError(f"{self.folder / 'metadata.json'}: '{key}' is missing or damaged; {AGAIN}")
        return self.metadata[key]

    @property
    def _n_variants(self) -> int:
        return int(self.metadata.get("variants", np.iinfo(np.int32).max))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def windows(self) -> pd.DataFrame:
        """``windows.bed``: chrom start end name score strand fold (0-based, half-open)."""
        return read_windows(self.folder / "windows.bed", folds=False)

    @property
    def flank(self) -> int:
        """Bases that the sequences reach beyond their window on either side."""
        return int(self.metadata.get("flank", 0))

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Reference position (0-based) of the first base of each window's sequences, negative beyond the contig's start."""
        return np.asarray(self.windows["start"], np.int64) - self.flank

    @property
    def names_alleles(self) -> bool:
        """Whether the store says which alleles its haplotypes carry; one made by other means may not."""
        return (self.folder / "variants.tsv").is_file()

    @cached_property
    def variants(self) -> pd.DataFrame:
        """Alleles in use, one row each; ``pos`` is 1-based, ``[start, end)`` the 0-based interval that ``bases`` replace."""
        kinds = dict.fromkeys(VARIANT_COLUMNS, TEXT) | dict.fromkeys(("pos", "start", "end"), WHOLE)
        return read_table(self.folder / "variants.tsv", kinds, allow_empty=True)

    @cached_property
    def donor_counts(self) -> pd.DataFrame:
        """Genotype counts of each donor over the variants that touch a window."""
        return read_table(self.folder / "donors.tsv", {"donor": NAME} | dict.fromkeys(DONOR_COUNTS, COUNT))

    @cached_property
    def allele_offsets(self) -> NDArray[np.int64]:
        """Offsets of each row into ``alleles``, ``[rows + 1]``."""
        return load_array(self.folder / "allele_offsets.npy", AGAIN)

    @cached_property
    def alleles(self) -> NDArray[np.int32]:
        """Rows of ``variants`` that the haplotypes carry, in order of position."""
        return load_array(self.folder / "alleles.npy", AGAIN)

    def edits(self, row: int) -> list[tuple[int, int, int]]:
        """Reference interval (0-based, half-open) and number of new bases of each allele that a haplotype carries."""
        carried = self.alleles[self.allele_offsets[row] : self.allele_offsets[row + 1]]
        return [tuple(edit) for edit in self._edits[carried].tolist()]

    def differing_alleles(self, window: int, first: int, second: int) -> tuple[str, str]:
        """Alleles (``chrom:pos:ref:alt``, by comma) that only the first, and only the second haplotype of a window carries."""
        rows = [self.offsets[window] + row for row in (first, second)]
        one, other = (self.alleles[self.allele_offsets[row] : self.allele_offsets[row + 1]] for row in rows)
        columns = self.variants[["chrom", "pos", "ref", "alt"]]
        only = (columns.iloc[np.setdiff1d(*pair)].itertuples(index=False) for pair in ((one, other), (other, one)))
        first_only, second_only = (",".join(":".join(map(str, allele)) for allele in found) for found in only)
        return first_only, second_only

    def copies(self, window: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Alleles that occur in a window (rows of ``variants``), and how many copies of each a donor carries ``[allele, donor]``."""
        rows = range(self.offsets[window], self.offsets[window + 1])
        carried = [self.alleles[self.allele_offsets[row] : self.allele_offsets[row + 1]] for row in rows]
        found = np.unique(np.concatenate(carried)).astype(np.int64)
        carries = np.stack([np.isin(found, alleles) for alleles in carried])
        return found, carries[self.index[window]].sum(axis=1).T

    def common_alleles(self, window: int, span: int) -> list[int]:
        """Rows of ``variants`` in the central ``span`` bp of a window that divide the donors, by position.

        A good part of the donors (``COMMON``, at least ``FEWEST``) carries the allele, and as many carry another.
        """
        found, copies = self.copies(window)
        fewest = max(FEWEST, COMMON * copies.shape[1])
        region = self.windows.iloc[window]
        first = (int(region["start"]) + int(region["end"]) - span) // 2
        positions = self.variants["pos"].to_numpy(np.int64)[found]
        carriers, others = (copies > 0).sum(axis=1), (copies < 2).sum(axis=1)
        near = (first < positions) & (positions <= first + span)
        return [int(row) for row in found[near & (np.minimum(carriers, others) >= fewest)]]

    def check_windows(self, windows: pd.DataFrame) -> None:
        """Raise DataError unless the store was made of these windows."""
        columns = ["chrom", "start", "end", "name"]
        if not windows[columns].reset_index(drop=True).equals(self.windows[columns]):
            raise DataError(f"{self.folder}: made of other windows; run extract_haplotypes.py on these")

    def reference_positions(self, row: int) -> NDArray[np.int64]:
        """Reference position (0-based) of each base of the haplotype in ``row`` of ``sequences``, shape ``(width,)``.

        -1 for inserted bases and for N beyond the contig's ends. A base that replaces another has its position.
        """
        window = self._window_of(row)
        start = int(self.starts[window])
        contig = self.windows["chrom"].iloc[window]
        length = self.fact("contigs").get(contig)
        if length is None:
            raise DataError(f"{self.folder / 'metadata.json'}: the length of contig {contig} is missing; {AGAIN}")
        found = _haplotype_positions(start, self.width, self.edits(row))
        found[(found < 0) | (found >= length)] = ABSENT
        return found

    def haplotype_offsets(self, row: int) -> NDArray[np.int64]:
        """Where each reference base of the window is in the haplotype of ``row``, shape ``(width,)``.

        -1 for bases that are deleted or that an insertion has pushed out of the window.
        """
        inside = self.reference_positions(row) - int(self.starts[self._window_of(row)])
        offsets = np.full(self.width, ABSENT, np.int64)
        shown = np.flatnonzero((inside >= 0) & (inside < self.width))
        offsets[inside[shown]] = shown
        return offsets

    def _window_of(self, row: int) -> int:
        return int(np.searchsorted(self.offsets, row, side="right")) - 1

    @cached_property
    def _edits(self) -> NDArray[np.int64]:
        variants = self.variants
        return np.column_stack([variants["start"], variants["end"], variants["bases"].str.len()]).astype(np.int64)

    @cached_property
    def _donor_places(self) -> dict[str, int]:
        return {donor: place for place, donor in enumerate(self.donors)}

    def donor(self, name: str) -> int:
        """Place of a donor along ``index``; raises DataError when the store does not hold the donor."""
        try:
            return self._donor_places[name]
        except KeyError:
            raise DataError(
                f"{self.folder}: donor {name} is not in the store, which holds {len(self.donors)}"
            ) from None

    def distinct(self, window: int) -> NDArray[np.uint8]:
        """All distinct haplotypes of a window, ``[n, width]``, reference first: a view of the memory map."""
        return self.sequences[self.offsets[window] : self.offsets[window + 1]]

    def rows(
        self, windows: NDArray[np.integer[Any]] | int, donors: NDArray[np.integer[Any]] | int | slice = slice(None)
    ) -> NDArray[np.int64]:
        """Rows of ``sequences`` that the donors carry, ``[…, 2]``; ``windows`` and ``donors`` broadcast as in numpy."""
        within = self.index[windows, donors].astype(np.int64)
        first = self.offsets[windows]
        return within + np.reshape(first, np.shape(first) + (1,) * (within.ndim - np.ndim(first)))

    def haplotypes(
        self,
        windows: NDArray[np.integer[Any]] | int,
        donors: NDArray[np.integer[Any]] | int | slice = slice(None),
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Codes of both haplotypes, ``[…, 2, width]``; written into ``out`` when given, so that no memory is made."""
        rows = self.rows(windows, donors)
        # With "raise", take would fill a buffer of its own before it copies to out; rows are always in range.
        return np.take(self.sequences, rows, axis=0, out=out, mode="clip")


class Piece(Protocol):
    """What the writer needs of a shard."""

    chrom: str
    sequences: NDArray[np.uint8]
    row_offsets: NDArray[np.int64]
    index: NDArray[np.int32]
    allele_offsets: NDArray[np.int64]
    alleles: NDArray[np.int64]
    variants: list[tuple[int, str, str, int, int, str]]
    donor_counts: NDArray[np.int64]
    tally: Counter[str]


class StoreWriter:
    """Writes a store piece by piece into ``folder``; memory does not grow with the number of sequences."""

    def __init__(self, folder: Path, width: int, donors: list[str]) -> None:
        self.folder, self.width, self.donors = folder, width, donors
        self.sequences = _NpyStream(folder / "sequences.npy", np.dtype(np.uint8), (width,))
        self.index = _NpyStream(
            folder / "index.npy", np.dtype(np.uint32 if len(donors) > 32767 else np.uint16), (len(donors), 2)
        )
        self.alleles = _NpyStream(folder / "alleles.npy", np.dtype(np.int32), ())
        self.rows_per_window: list[NDArray[np.int64]] = []
        self.alleles_per_row: list[NDArray[np.int64]] = []
        self.variants = (folder / "variants.tsv").open("w")
        self.variants.write("\t".join(VARIANT_COLUMNS) + "\n")
        self.n_variants = 0
        self.known: dict[tuple[str, int, str, str], int] = {}
        self.donor_counts = np.zeros((len(donors), len(DONOR_COUNTS)), np.int64)
        self.tally: Counter[str] = Counter()

    def add(self, piece: Piece) -> None:
        """Append the windows of a piece."""
        self.sequences.append(piece.sequences)
        self.index.append(piece.index.reshape(len(piece.index), -1, 2))
        self.rows_per_window.append(np.diff(piece.row_offsets))
        self.alleles_per_row.append(np.diff(piece.allele_offsets))
        self.alleles.append(self._variant_ids(piece)[piece.alleles])
        self.donor_counts += piece.donor_counts
        self.tally.update(piece.tally)

    def _variant_ids(self, piece: Piece) -> NDArray[np.int64]:
        """Number the piece's variants; one that the piece before has, at their common border, keeps its number."""
        current: dict[tuple[str, int, str, str], int] = {}
        lines, numbers = [], []
        for pos, ref, alt, start, end, bases in piece.variants:
            key = (piece.chrom, pos, ref, alt)
            number = self.known.get(key, current.get(key))
            if number is None:
                number = self.n_variants
                self.n_variants += 1
                lines.append(f"{piece.chrom}\t{pos}\t{ref}\t{alt}\t{start}\t{end}\t{bases}\n")
            current[key] = number
            numbers.append(number)
        self.variants.writelines(lines)
        self.known = current
        return np.array(numbers, np.int64)

    def finish(self, order: NDArray[np.int64], metadata: dict[str, Any]) -> None:
        """Complete the store. ``order[i]`` is the line in windows.bed of the i-th window added; metadata goes last."""
        self.variants.close()
        for stream in (self.sequences, self.index, self.alleles):
            stream.close()
        rows = np.concatenate(self.rows_per_window)
        per_row = np.concatenate(self.alleles_per_row)
        if (order != np.arange(len(order))).any():
            rows, per_row = self._reorder(np.argsort(order), rows, per_row)
        self._narrow_index(int(rows.max()))
        save_array(self.folder / "offsets.npy", np.concatenate([[0], np.cumsum(rows)]))
        save_array(self.folder / "allele_offsets.npy", np.concatenate([[0], np.cumsum(per_row)]))
        counts = pd.DataFrame(self.donor_counts, columns=list(DONOR_COUNTS))
        counts.insert(0, "donor", self.donors)
        counts.to_csv(self.folder / "donors.tsv", sep="\t", index=False)
        names = [f"{name}.npy" for name in ARRAYS] + ["windows.bed", "variants.tsv", "donors.tsv"]
        whole = {
            "format": FORMAT,
            "version": VERSION,
            "width": self.width,
            "donors": self.donors,
            "windows": len(rows),
            "haplotypes": len(rows) * len(self.donors) * 2,
            "distinct_haplotypes": int(rows.sum()),
            "variants": self.n_variants,
            **metadata,
            "sizes": {name: (self.folder / name).stat().st_size for name in names},
            "checksums": {name: sha256(self.folder / name) for name in names},
        }
        (self.folder / "metadata.json").write_text(json.dumps(whole, indent=1) + "\n")

    def _reorder(
        self, places: NDArray[np.int64], rows: NDArray[np.int64], per_row: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Put windows that were worked on by position back into the order of windows.bed."""
        row_edges = np.concatenate([[0], np.cumsum(rows)])
        allele_edges = np.concatenate([[0], np.cumsum(per_row)])
        for stream, edges in (
            (self.sequences, row_edges),
            (self.index, np.arange(len(rows) + 1)),
            (self.alleles, allele_edges[row_edges]),
        ):
            old = load_array(stream.path, AGAIN)
            again = _NpyStream(stream.path.with_name("reordered.npy"), old.dtype, old.shape[1:])
            for window in places.tolist():
                again.append(old[edges[window] : edges[window + 1]])
            again.close()
            again.path.replace(stream.path)
        new_per_row = [per_row[row_edges[window] : row_edges[window + 1]] for window in places.tolist()]
        return rows[places], np.concatenate(new_per_row)

    def _narrow_index(self, largest: int) -> None:
        """Rewrite the index in the smallest type that holds every row number of a window."""
        wide = load_array(self.index.path, AGAIN)
        smallest = np.min_scalar_type(largest - 1)
        if smallest == wide.dtype:
            return
        narrow = _NpyStream(self.folder / "narrow.npy", smallest, wide.shape[1:])
        for start in range(0, len(wide), REORDER_STEP):
            narrow.append(wide[start : start + REORDER_STEP])
        narrow.close()
        narrow.path.replace(self.index.path)


class _NpyStream:
    """An ``.npy`` file that grows along its first axis; numpy's header leaves room for the final length."""

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self.path, self.dtype, self.shape, self.length = path, dtype, shape, 0
        self.handle = path.open("wb")
        self._header()

    def _header(self) -> None:
        self.handle.seek(0)
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.length, *self.shape)}
        np.lib.format.write_array_header_1_0(self.handle, header)

    def append(self, values: NDArray[Any]) -> None:
        self.handle.write(np.ascontiguousarray(values, self.dtype).data)
        self.length += len(values)

    def close(self) -> None:
        self._header()
        self.handle.close()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _are_counts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value) and len(set(value)) == len(value)


# What the metadata are read for, and whether a value can be it; the first four are in every store.
_NEEDED = ("donors", "width", "sizes", "checksums")
_FACTS: Mapping[str, Callable[[object], bool]] = {
    "donors": _are_names, "width": _is_count, "sizes": _are_counts, "checksums": lambda value: isinstance(value, dict),
    "contigs": _are_counts, "flank": _is_count, "variants": _is_count, "dropped": _are_counts, "genotypes": _are_counts,
    "alleles_read": _is_count, "not_left_aligned": _is_count, "phase_set_changes": _is_count, "rows_merged": _is_count,
}  # fmt: skip


def _read_metadata(path: Path) -> dict[str, Any]:
    """``metadata.json`` of a store; raises DataError when it is absent, no JSON, or of another kind or version."""
    listing = path / "metadata.json"
    if not path.is_dir():
        raise DataError(f"{path}: no such haplotype store; make it with extract_haplotypes.py")
    if not listing.is_file():
        raise DataError(f"{path}: not a whole haplotype store (no metadata.json); {AGAIN}")
    try:
        metadata = json.loads(listing.read_text())
    except ValueError:
        metadata = {}
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise DataError(f"{listing}: not the metadata of a haplotype store; give the folder of extract_haplotypes.py")
    if metadata.get("version") != VERSION:
        raise DataError(
            f"{listing}: version {metadata.get('version')}, this program reads {VERSION}; make the store again"
        )
    for key, holds in _FACTS.items():
        if (key in metadata or key in _NEEDED) and not holds(metadata.get(key)):
            raise DataError(f"{listing}: '{key}' is missing or damaged; {AGAIN}")
    if (
        not {*(f"{name}.npy" for name in ARRAYS), "windows.bed"}
        <= metadata["checksums"].keys() & metadata["sizes"].keys()
    ):
        raise DataError(f"{listing}: files are missing from its list; {AGAIN}")
    return metadata


def _are_offsets(offsets: NDArray[np.int64], total: int) -> bool:
    """Whether offsets run from 0 to a total and never back."""
    return bool(offsets[0] == 0 and offsets[-1] == total and (np.diff(offsets) >= 0).all())


def _haplotype_positions(start: int, width: int, edits: Iterable[tuple[int, int, int]]) -> NDArray[np.int64]:
    """Reference positions along a haplotype with ``edits`` (start, end, bases that replace them) sorted by position.

    Not cut at the contig's ends; the layout is that of :mod:`allelegro.genotype.haplotypes`.
    """
    edits = list(edits)
    centre, half = start + width // 2, width // 2
    left = [
        (a, min(b, centre), n if b <= centre else min(n, centre - a)) for a, b, n in edits if a < centre or b <= centre
    ]
    right = [(max(a, centre), b, n - min(n, max(0, centre - a))) for a, b, n in edits if b > centre]
    lost = sum(max(0, b - a - n) for a, b, n in left)
    first = min([start, *(a for a, _, _ in left)]) - lost
    before = _positions(first, left, centre)
    after = _positions(centre, right, max([centre, *(b for _, b, _ in right)]) + width)
    return np.concatenate([before[len(before) - half :], after[: width - half]])


def _positions(position: int, edits: list[tuple[int, int, int]], stop: int) -> NDArray[np.int64]:
    parts = []
    for start, end, bases in edits:
        paired = min(bases, end - start)
        parts += [np.arange(position, start), np.arange(start, start + paired), np.full(bases - paired, ABSENT)]
        position = end
    return np.concatenate([*parts, np.arange(position, stop)]).astype(np.int64)
