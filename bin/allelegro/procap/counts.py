"""The counts store: raw counts and sparse base-resolution profiles of every window in every library.

Size factors are the median of ratios to the geometric mean over libraries (Anders & Huber 2010, doi:10.1186/gb-2010-11-10-r106);
they and the library totals are kept alongside the counts, which stay raw.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.intervals import Ints, concatenated_ranges
from allelegro.io.arrays import append_array, load_array, save_array
from allelegro.io.atomic import also_reading, atomic_folder
from allelegro.io.checksums import same_data, sha256
from allelegro.io.contigs import check_shared, few
from allelegro.io.documents import read_document
from allelegro.io.signal import MOST_READS, Counts, StrandedSignal
from allelegro.io.tables import COUNT, NAME, NUMBER, read_table, write_table
from allelegro.io.windows import read_windows, write_windows

FORMAT = 1
AGAIN = "make the store again with count_windows.py"
ENOUGH_WINDOWS = 10  # for a median of ratios: of a few windows it is their own biology, not the library's depth
_WINDOWS_AT_ONCE = 2000  # windows assembled together: bounds memory at libraries x 2,000 profiles

log = logging.getLogger(__name__)


# ----------------------------------------------------------------------------------------------------------- reading


class Entries(NamedTuple):
    """Bases with reads, arrays of one length: window (its place among those asked for), library, strand (0 plus, 1 minus),
    base within the window, and reads."""

    window: Ints
    library: Ints
    strand: Ints
    base: Ints
    reads: Ints


class CountsStore:
    """A counts store on disk, memory-mapped; open it with :meth:`open`.

    ``windows`` and ``libraries`` are DataFrames in store order, ``width`` the window width in bp, ``excluded`` the reason for each
    library that could not be counted. ``resolved`` is false where reads were given by window alone, without bases and strands.
    """

    def __init__(self, path: Path, windows: pd.DataFrame, libraries: pd.DataFrame, metadata: Mapping[str, Any]) -> None:
        self.path, self.windows, self.libraries, self.width = path, windows, libraries, int(metadata["width"])
        self.excluded: dict[str, str] = metadata.get("excluded", {})
        self._checksums: dict[str, str] = metadata.get("checksums", {})
        self._known: dict[str, str] = {}  # checksums computed so far
        self.resolved = bool(metadata.get("resolved", True))
        self._totals = load_array(path / "counts.npy", AGAIN)
        self._offsets = load_array(path / "profile_offsets.npy", AGAIN)
        self._positions = load_array(path / "profile_positions.npy", AGAIN)
        self._values = load_array(path / "profile_values.npy", AGAIN)
        shape = (len(windows), len(libraries), 2)
        entries = (len(self._values),)
        for array, wanted in (
            (self._totals, shape), (self._offsets, (shape[0] * shape[1] + 1,)), (self._positions, entries), (self._values, entries),
        ):  # fmt: skip
            if array.shape != wanted or array.dtype.kind not in "ui":
                raise DataError(f"{path}: arrays do not fit windows.bed and libraries.tsv; make the store again")
        offsets = self._offsets
        if offsets[0] != 0 or offsets[-1] != entries[0] or (offsets[1:] < offsets[:-1]).any():
            raise DataError(f"{path / 'profile_offsets.npy'}: values out of range; make the store again")
        if not (windows["end"] - windows["start"] == self.width).all():
            raise DataError(f"{path / 'windows.bed'}: windows are not of {self.width} bp; make the store again")

    @classmethod
    def open(cls, path: Path, *, verify: bool = False) -> "CountsStore":
        """Open a store; raises DataError when it is incomplete, of another format or its windows were changed.

        With ``verify``, for training and evaluation, :meth:`verify` is called, too.
        """
        listing = path / "metadata.json"
        if not listing.is_file():
            raise DataError(f"{path}: not a counts store (metadata.json is missing); make it with count_windows.py")
        metadata = read_document(listing, ["format", "width", "windows_sha256"], "count_windows.py")
        if metadata["format"] != FORMAT:
            raise DataError(f"{path}: store format {metadata['format']}, expected {FORMAT}; make the store again")
        width = metadata["width"]
        whole = isinstance(width, int) and 0 < width < 2**31
        if not whole or not all(isinstance(metadata.get(key, {}), dict) for key in ("excluded", "checksums")):
            raise DataError(f"{listing}: damaged; make the store again")
        if sha256(path / "windows.bed") != metadata["windows_sha256"]:
            raise DataError(f"{path}/windows.bed was changed after counting; make the store again")
        kinds = {"library": NAME, "donor": NAME, "total_reads": COUNT, "size_factor": NUMBER}
        libraries = read_table(path / "libraries.tsv", kinds)
        store = cls(path, read_windows(path / "windows.bed", folds=False), libraries, metadata)
        if verify:
            store.verify()
        return store

    def verify(self) -> None:
        """Compare every file with its recorded checksum, and the counts with the sums of the profiles.

        Raises DataError at the first that differs. Costs one reading of the store.
        """
        for name in self._checksums:
            self.checksum(name)
        for low in range(0, len(self.windows), _WINDOWS_AT_ONCE):
            totals = self._totals[low : low + _WINDOWS_AT_ONCE]
            found = self.entries(np.arange(low, low + len(totals)))
            cells = np.ravel_multi_index((found.window, found.library, found.strand), totals.shape)
            if (np.bincount(cells, found.reads, totals.size) != totals.ravel()).any():
                raise DataError(f"{self.path}: counts.npy is not the sum of the profiles; make the store again")

    def counts(self, target_width: int | None = None) -> NDArray[np.int64]:
        """Raw counts ``[window, library, strand]`` (strand 0 plus, 1 minus) in the central ``target_width`` bp.

        The whole window when None. An odd remainder leaves its extra base on the right.
        """
        if target_width is None or target_width == self.width:
            return np.asarray(self._totals, np.int64)
        if not 0 < target_width < self.width:
            raise DataError(f"{self.path}: target width {target_width} is not within the window ({self.width} bp)")
        left = (self.width - target_width) // 2
        windows, libraries, _ = self._totals.shape
        sums = np.zeros((windows, libraries, 2), np.int64)
        for low in range(0, windows, _WINDOWS_AT_ONCE):
            part = sums[low : low + _WINDOWS_AT_ONCE]
            found = self.entries(np.arange(low, low + len(part)))
            inside = (found.base >= left) & (found.base < left + target_width)
            np.add.at(part, (found.window[inside], found.library[inside], found.strand[inside]), found.reads[inside])
        return sums

    def expression(self) -> pd.Series:
        """Reads per million (:func:`library_sizes`) of both strands in each window, the mean over libraries, by window name."""
        rpm = self.counts().sum(axis=2) / library_sizes(self.libraries)
        return pd.Series(rpm.mean(axis=1), index=self.windows["name"].astype(str))

    def table(self, target_width: int | None = None) -> pd.DataFrame:
        """Raw counts of both strands together: one row a window (by name), one column a library."""
        counts = self.counts(target_width).sum(axis=2)
        return pd.DataFrame(
            counts, index=pd.Index(self.windows["name"], name="window"), columns=self.libraries["library"]
        )

    def profiles(self, windows: NDArray[np.integer] | Sequence[int]) -> NDArray[np.float32]:
        """Dense raw profiles ``[n, library, strand, width]`` of the given window numbers; DataError where none are known."""
        self.require_profiles()
        found = self.entries(windows)
        dense = np.zeros((len(windows), len(self.libraries), 2, self.width), np.float32)
        dense[found.window, found.library, found.strand, found.base] = found.reads
        return dense

    def require_profiles(self) -> None:
        """Raise DataError when the store was made of reads by window, which have no bases."""
        if not self.resolved:
            raise DataError(
                f"{self.path}: made of reads by element, without profiles; take CLIPNET, which needs them, out of --models"
            )

    def entries(self, windows: NDArray[np.integer] | Sequence[int]) -> Entries:
        """The bases with reads of the given window numbers, window by window, library by library, plus before minus."""
        chosen, libraries = np.asarray(windows, np.int64), len(self.libraries)
        cells = (chosen[:, None] * libraries + np.arange(libraries)).ravel()
        first, sizes = self._offsets[cells], self._offsets[cells + 1] - self._offsets[cells]
        at = concatenated_ranges(first, sizes)
        window, library = np.divmod(np.repeat(np.arange(len(cells)), sizes), libraries)
        strand, base = np.divmod(self._positions[at].astype(np.int64), self.width)
        if len(strand) and not 0 <= strand.min() <= strand.max() <= 1:
            raise DataError(f"{self.path / 'profile_positions.npy'}: values out of range; make the store again")
        return Entries(window, library, strand, base, self._values[at].astype(np.int64))

    def allelic(self) -> tuple[NDArray[np.integer], NDArray[np.floating]] | None:
        """Reads that tell haplotypes apart, uint32 ``[window, library, strand, haplotype]``, and float32 ``[window, library]``.

        The second says how a preference for reference bases moves haplotype 0: the mean over the reads of its reference bases
        less those of haplotype 1. None where no library has reads and phased genotypes. Raises DataError for changed files.
        """
        if not (self.path / "allelic.npy").is_file():
            return None
        for name in ("allelic.npy", "allelic_reference.npy"):
            self.checksum(name)
        return load_array(self.path / "allelic.npy", AGAIN), np.asarray(
            load_array(self.path / "allelic_reference.npy", AGAIN), np.float32
        )

    def checksum(self, name: str) -> str:
        """SHA-256 of a file of the store; raises DataError when it is not the one recorded when the store was made."""
        if name not in self._known:
            self._known[name] = sha256(self.path / name)
        found = self._known[name]
        if self._checksums.get(name, found) != found:
            raise DataError(f"{self.path / name} was changed after counting; make the store again")
        return found


def read_counts(path: str | os.PathLike[str]) -> CountsStore:
    """Open the counts store of a run, for example ``results/procap/counts``; see :class:`CountsStore` for what it holds.

    Raises DataError when it is incomplete, of another format or its windows were changed.
    """
    return CountsStore.open(Path(path))


def library_sizes(libraries: pd.DataFrame) -> NDArray[np.float64]:
    """Sizes in millions of reads: size factors, which a few busy loci do not move, on the scale of the mean read total."""
    factor = libraries["size_factor"].to_numpy(np.float64)
    return np.asarray(factor / factor.mean() * libraries["total_reads"].mean() / 1e6)


def _own_files(folder: Path) -> set[str]:
    """The files of a whole counts store; none of another folder."""
    try:
        metadata = read_document(
            folder / "metadata.json", ["format", "windows_sha256", "checksums"], "count_windows.py"
        )
    except DataError:
        return set()
    return {"metadata.json", *metadata["checksums"]} if metadata["format"] == FORMAT else set()


# ---------------------------------------------------------------------------------------------------------- counting


@dataclass(frozen=True)
class Library:
    """One library: its donor and the strand pairs of its runs, which are summed."""

    name: str
    donor: str
    pairs: list[tuple[Path, Path]]


def read_signal_sheet(path: Path) -> list[Library]:
    """Libraries of a sheet ``library donor plus minus``; paths are relative to the sheet, rows of one library are runs."""
    sheet = read_table(path, dict.fromkeys(["library", "donor", "plus", "minus"], NAME))
    libraries = []
    for name, rows in sheet.groupby("library", sort=False):
        donors = rows["donor"].unique()
        if len(donors) > 1:
            raise DataError(f"{path}: library {name} has two donors, {donors[0]} and {donors[1]}; give it one")
        pairs = [
            (path.parent / str(plus), path.parent / str(minus)) for plus, minus in rows[["plus", "minus"]].to_numpy()
        ]
        libraries.append(Library(str(name), str(donors[0]), pairs))
    also_reading(path for library in libraries for pair in library.pairs for path in pair)
    return libraries


def count_windows(
    windows_path: Path,
    libraries: Sequence[Library],
    out: Path,
    *,
    threads: int = 1,
    skip_bad_libraries: bool = False,
    alleles: Sequence[Path] = (),
) -> dict[str, str]:
    """Count 5' ends of every library in every window and write the counts store ``out``.

    ``alleles`` are the reports of count_alleles.py (``LIBRARY.alleles.json``) of libraries whose reads tell haplotypes apart.
    Returns the reasons by library of those excluded (empty unless ``skip_bad_libraries``). Raises DataError, naming the
    library, for an unreadable signal, contig names that share nothing with the windows, or a library without a read in any window.
    """
    windows = read_windows(windows_path, folds=False)
    _refuse_shared_data(libraries)
    width = int(windows["end"].iloc[0] - windows["start"].iloc[0])
    if 2 * width > np.iinfo(np.uint16).max + 1:
        raise DataError(f"{windows_path}: windows of {width} bp are too wide to store; use at most 32,768")
    with atomic_folder(out, "counts", _own_files) as folder:
        with ThreadPoolExecutor(threads) as pool:
            spooled = list(
                pool.map(lambda item: _spool_library(windows, item[1], folder / f"spool{item[0]}", skip_bad_libraries),
                         enumerate(libraries))
            )  # fmt: skip
        failures = {
            library.name: part for library, part in zip(libraries, spooled, strict=True) if isinstance(part, str)
        }
        for name, reason in failures.items():
            log.warning("library %s excluded: %s", name, reason)
        kept = [(lib, part) for lib, part in zip(libraries, spooled, strict=True) if isinstance(part, _Spool)]
        if not kept:
            raise DataError(f"every library was excluded; first: {next(iter(failures.values()), 'the sheet is empty')}")
        totals = _assemble(folder, [spool for _, spool in kept], width)
        table = pd.DataFrame(
            {"library": [lib.name for lib, _ in kept], "donor": [lib.donor for lib, _ in kept],
             "total_reads": [spool.total for _, spool in kept]}
        )  # fmt: skip
        shutil.copyfile(windows_path, folder / "windows.bed")
        method = _write_libraries(table, totals, folder)
        with_alleles = _join_alleles(alleles, table, len(windows), sha256(windows_path), folder) if alleles else {}
        _write_metadata(folder, width, method, failures, allelic=with_alleles)
    log.info("%s: %d windows x %d libraries, %d reads in windows", out, len(windows), len(kept), totals.sum())
    return failures


def write_element_counts(
    windows: pd.DataFrame,
    libraries: pd.DataFrame,
    reads: NDArray[np.integer],
    out: Path,
    excluded: Mapping[str, str] | None = None,
) -> None:
    """Write the counts store ``out`` of whole numbers ``reads`` ``[window, library]`` that nobody can tell apart by base or strand.

    ``windows`` are those of windows.bed, ``libraries`` ``library donor total_reads``. Half of the reads of a window are
    put on either strand of its central base, so that every target width holds all of them; ``resolved`` of the store is
    false, and its profiles are refused. Raises DataError for more reads in a window than can be stored, and for a
    library without one.
    """
    if reads.max(initial=0) > MOST_READS:
        raise DataError(f"{reads.max():,} reads in one window, more than can be counted ({MOST_READS:,})")
    if (reads == 0).all(axis=0).any():
        empty = libraries["library"][int((reads == 0).all(axis=0).argmax())]
        raise DataError(f"library {empty}: no read in any window; exclude it")
    width = int(windows["end"].iloc[0] - windows["start"].iloc[0])
    totals = np.stack([reads - reads // 2, reads // 2], axis=2).astype(np.uint32)
    _, _, strand = np.nonzero(totals)
    with atomic_folder(out, "counts", _own_files) as folder:
        save_array(folder / "counts.npy", totals)
        save_array(folder / "profile_offsets.npy", np.concatenate(([0], np.cumsum((totals > 0).sum(axis=2).ravel()))))
        save_array(folder / "profile_positions.npy", (strand * width + width // 2).astype(np.uint16))
        save_array(folder / "profile_values.npy", totals[totals > 0])
        write_windows(windows, folder / "windows.bed")
        method = _write_libraries(libraries, totals, folder)
        _write_metadata(folder, width, method, excluded or {}, resolved=False)
    log.info("%s: %d windows x %d libraries, %d reads", out, len(windows), len(libraries), reads.sum())


def _write_libraries(libraries: pd.DataFrame, totals: NDArray[np.integer], folder: Path) -> str:
    """Write ``libraries.tsv`` with size factors of ``totals`` ``[window, library, strand]``; returns how they were made."""
    factors, method = size_factors(totals.sum(axis=2), libraries["total_reads"].to_numpy(np.int64))
    write_table(libraries.assign(size_factor=factors), folder / "libraries.tsv")
    return method


def _write_metadata(folder: Path, width: int, method: str, excluded: Mapping[str, str], **more: Any) -> None:
    metadata = {
        "format": FORMAT, "width": width, "windows_sha256": sha256(folder / "windows.bed"),
        "size_factor_method": method, "excluded": dict(excluded), **more,
        "checksums": {file.name: sha256(file) for file in sorted(folder.iterdir())},
    }  # fmt: skip
    (folder / "metadata.json").write_text(json.dumps(metadata, indent=1) + "\n")


def _refuse_shared_data(libraries: Sequence[Library]) -> None:
    """Raise DataError when two libraries have a strand pair of the same data."""
    pairs = [(library.name, pair) for library in libraries for pair in library.pairs if all(map(Path.is_file, pair))]
    by_size: dict[tuple[int, int], list[tuple[str, tuple[Path, Path]]]] = {}
    for name, pair in pairs:
        alike = by_size.setdefault((pair[0].stat().st_size, pair[1].stat().st_size), [])
        for other, files in alike:
            if all(same_data(strand) for strand in zip(files, pair, strict=True)):
                raise DataError(
                    f"library {name}: {pair[0]} is the same data as {files[0]} of library {other}; give data once"
                )
        alike.append((name, pair))


def _join_alleles(
    reports: Sequence[Path], libraries: pd.DataFrame, windows: int, windows_sha256: str, folder: Path
) -> dict[str, Any]:
    """Write ``allelic.npy`` and ``allelic_reference.npy``; returns what the reports say of each library.

    Raises DataError for a report of other windows, donors or counts, and for two reports of one library.
    """
    names, donors = libraries["library"].tolist(), libraries["donor"].tolist()
    counts = np.zeros((windows, len(names), 2, 2), np.uint32)
    reference = np.zeros((windows, len(names)), np.float32)
    said: dict[str, Any] = {}
    for path in reports:
        keys = ["library", "donor", "windows_sha256", "sha256", "reads", "sites", "reference_share"]
        report = read_document(path, keys, "count_alleles.py")
        name = str(report["library"])
        if name not in names:
            continue  # excluded, with its reason, for its signal
        array = path.with_name(path.name.replace(".alleles.json", ".allelic.npy"))
        if name in said:
            raise DataError(f"{path}: library {name} has two reports of alleles; give one")
        if report["donor"] != donors[names.index(name)]:
            raise DataError(
                f"{path}: alleles of donor {report['donor']}, but library {name} is {donors[names.index(name)]}'s"
            )
        if report["windows_sha256"] != windows_sha256:
            raise DataError(f"{path}: alleles were counted in other windows; run count_alleles.py with these")
        if not array.is_file() or sha256(array) != report["sha256"]:
            raise DataError(f"{array}: missing, or not the counts of {path.name}; run count_alleles.py again")
        counts[:, names.index(name)] = load_array(array, "run count_alleles.py again")
        reference[:, names.index(name)] = load_array(
            array.with_name(array.name.replace(".allelic.", ".reference.")), "run count_alleles.py again"
        )
        said[name] = {key: report[key] for key in ("reads", "sites", "reference_share")}
    save_array(folder / "allelic.npy", counts)
    save_array(folder / "allelic_reference.npy", reference)
    return said


@dataclass(frozen=True)
class _Spool:
    """One library's profile entries on disk: window by window, ``sizes[w]`` of them."""

    positions: Path
    values: Path
    sizes: NDArray[np.int64]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    total: int
    highest: int


def _spool_library(windows: pd.DataFrame, library: Library, stem: Path, skip_bad: bool) -> _Spool | str:
    try:
        return _count_library(windows, library, stem)
    except (DataError, FileNotFoundError, PermissionError) as error:
        if not skip_bad:
            raise DataError(f"library {library.name}: {error}; or pass --skip-bad-libraries") from None
        return str(error)


def _count_library(windows: pd.DataFrame, library: Library, stem: Path) -> _Spool:
    groups = windows.groupby("chrom", sort=False).indices
    signal = StrandedSignal(*library.pairs, counted=groups.__contains__)
    check_shared(signal.contigs, str(library.pairs[0][0]), map(str, groups), "the windows")
    width = int(windows["end"].iloc[0] - windows["start"].iloc[0])
    sizes, starts = np.zeros(len(windows), np.int64), np.zeros(len(windows), np.int64)
    counts, total, written, highest = np.zeros((len(windows), 2), np.int64), 0, 0, 0
    positions_path, values_path = stem.with_suffix(".positions"), stem.with_suffix(".values")
    with positions_path.open("wb") as positions_file, values_path.open("wb") as values_file:
        for contig in signal.contigs:
            strands = signal.counts(contig)
            total += sum(int(strand.counts.sum()) for strand in strands)
            rows = groups.get(contig)
            if rows is None:
                continue
            length = signal.lengths.get(contig)
            if length is not None and windows["end"].to_numpy()[rows].max() > length:
                beyond = windows.iloc[rows]["name"][windows.iloc[rows]["end"] > length].iloc[0]
                raise DataError(
                    f"window {beyond} reaches beyond the end of {contig} ({length} bp) in {library.pairs[0][0]}"
                )
            places, values, ends = _profiles_of(strands, windows["start"].to_numpy()[rows], width)
            cumulative = np.concatenate(([0], np.cumsum(values)))
            counts[rows] = np.diff(cumulative[np.concatenate(([0], ends))]).reshape(-1, 2)
            sizes[rows] = np.diff(np.concatenate(([0], ends[1::2])))
            starts[rows] = written + ends[1::2] - sizes[rows]
            append_array(positions_file, places)
            append_array(values_file, values)
            written += len(places)
            highest = max(highest, int(values.max(initial=0)))
    if unknown := [contig for contig in map(str, groups) if contig not in signal.contigs]:
        log.warning("library %s: no reads on %s, whose windows count 0", library.name, few(unknown))
    if not counts.any():
        raise DataError(f"{library.pairs[0][0]}: no read in any window ({total} reads outside)")
    return _Spool(positions_path, values_path, sizes, starts, counts, total, highest)


def _profiles_of(
    strands: Sequence[Counts], window_starts: NDArray[np.int64], width: int
) -> tuple[NDArray[np.uint16], NDArray[np.uint32], NDArray[np.int64]]:
    """Profile places (``strand * width + offset``) and values of a contig's windows, window by window, plus before minus.

    The third array, of 2 x windows, tells where each window's plus and minus entries end.
    """
    first = np.stack([np.searchsorted(strand.positions, window_starts) for strand in strands], axis=1)
    last = np.stack([np.searchsorted(strand.positions, window_starts + width) for strand in strands], axis=1)
    sizes = (last - first).ravel()
    minus_at = np.array([0, len(strands[0].positions)])
    entries = concatenated_ranges((first + minus_at).ravel(), sizes)
    offsets = np.concatenate([strand.positions for strand in strands])[entries]
    offsets += np.repeat((np.array([0, width]) - window_starts[:, None]).ravel(), sizes)
    values = np.concatenate([strand.counts for strand in strands])[entries]
    if values.max(initial=0) > MOST_READS:
        raise DataError(f"{values.max():,} reads at one base, more than can be counted ({MOST_READS:,})")
    return offsets.astype(np.uint16), values.astype(np.uint32), np.cumsum(sizes)


def _assemble(folder: Path, spools: Sequence[_Spool], width: int) -> NDArray[np.integer]:
    """Join the libraries' spools into the store's arrays, some windows at a time, and remove the spools."""
    totals = np.stack([spool.counts for spool in spools], axis=1)
    save_array(folder / "counts.npy", totals.astype(np.uint32 if totals.max(initial=0) <= MOST_READS else np.uint64))
    sizes = np.stack([spool.sizes for spool in spools], axis=1)
    offsets = np.concatenate(([0], np.cumsum(sizes.ravel())))
    save_array(folder / "profile_offsets.npy", offsets)
    kind = np.uint16 if max(spool.highest for spool in spools) <= np.iinfo(np.uint16).max else np.uint32
    total = int(offsets[-1])
    with _array_file(folder / "profile_positions.npy", np.uint16, total) as place_file, \
            _array_file(folder / "profile_values.npy", kind, total) as value_file:  # fmt: skip
        for low in range(0, len(sizes), _WINDOWS_AT_ONCE):
            block = slice(low, low + _WINDOWS_AT_ONCE)
            cells = np.empty(int(sizes[block].sum()), np.uint16), np.empty(int(sizes[block].sum()), kind)
            base = offsets[low * len(spools)]
            for number, spool in enumerate(spools):
                source = concatenated_ranges(spool.starts[block], spool.sizes[block])
                first = offsets[low * len(spools) + number : offsets.size - 1 : len(spools)][: len(sizes[block])] - base
                target = concatenated_ranges(first, spool.sizes[block])
                cells[0][target] = _spooled(spool.positions, np.uint16)[source]
                cells[1][target] = _spooled(spool.values, np.uint32)[source]
            append_array(place_file, cells[0])
            append_array(value_file, cells[1])
    for spool in spools:
        spool.positions.unlink()
        spool.values.unlink()
    return totals


def _spooled(path: Path, kind: type[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """A spool, mapped for one use only: pages of many libraries that stay mapped would count as this process's memory."""
    if path.stat().st_size == 0:
        return np.empty(0, kind)
    return np.memmap(path, kind, "r")


@contextmanager
def _array_file(path: Path, kind: type[np.unsignedinteger], size: int) -> Iterator[IO[bytes]]:
    """A one-dimensional ``.npy`` file of known size, to be filled from start to end."""
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(kind)), "fortran_order": False, "shape": (size,)}
        np.lib.format.write_array_header_1_0(file, header)
        yield file


def size_factors(counts: NDArray[np.integer], totals: NDArray[np.int64]) -> tuple[NDArray[np.float64], str]:
    """Size factors of libraries from ``counts`` ``[window, library]``, geometric mean 1, and the method used.

    Median of ratios to the geometric mean over the windows with a read in every library; where fewer than
    ``ENOUGH_WINDOWS`` have one in all, library totals take its place and the method says so ("library_total").
    """
    everywhere = counts[(counts > 0).all(axis=1)]
    if len(everywhere) >= ENOUGH_WINDOWS:
        logs = np.log(everywhere)
        factors, method = np.median(logs - logs.mean(axis=1, keepdims=True), axis=0), "median_of_ratios"
    else:
        factors, method = np.log(totals.astype(np.float64)), "library_total"
        log.warning(
            "%d windows have reads in every library, of which %d are needed: size factors are library totals, not medians "
            "of ratios",
            len(everywhere), ENOUGH_WINDOWS,
        )  # fmt: skip
    return np.exp(factors - factors.mean()), method
