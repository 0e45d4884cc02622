"""Stream read ends out of alignments: BGZF blocks are inflated in turn and a compiled loop walks the raw BAM records.

A read end is one number, a key that sorts in genome order: ``contig << 33 | position << 1 | strand`` (strand 1 is minus).
Files are read once from start to end, so no index is needed. They must be sorted by coordinate.
CRAM and SAM are turned into uncompressed BAM by htslib (pysam) in a second process and read through a pipe.

Written by hand instead of a loop over pysam: coverage of 5 million reads takes 4.8 s, and 12.9 s by pysam and pyBigWig
(benchmarks/procap_coverage.py).
"""

import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.io import bgzf
from allelegro.io.checksums import refuse_repeated
from allelegro.resources import end_with_parent

CONTIG_SHIFT = 33
POSITION_MASK = (1 << CONTIG_SHIFT) - 1  # position and strand
LONGEST_CONTIG = (1 << 31) - 1
_LARGEST_HEADER, _MOST_CONTIGS, _LONGEST_NAME = 1 << 28, 1 << 24, 1 << 16  # more is damage, not to be read into memory

# What the compiled loop counts, by place in its tally.
TALLIES = (
    "alignments",
    "unmapped",
    "secondary",
    "supplementary",
    "failed quality control",
    "other mate",
    "excluded contig",
    "low MAPQ",
    "flagged duplicate",
    "long 5' clip",
    "flagged duplicates seen",
    "5' soft clip of one G",
    "5' soft clip of other bases",
    "mismatched 5' G moved",
)
(
    _ALIGNMENTS, _UNMAPPED, _SECONDARY, _SUPPLEMENTARY, _FAILED, _OTHER_MATE, _EXCLUDED, _LOW_MAPQ, _DUPLICATE, _LONG_CLIP,
    _DUPLICATES_SEEN, _CLIP_G, _CLIP_OTHER, _MOVED_G,
) = range(len(TALLIES))  # fmt: skip
_COUNTS = 0  # the read is not excluded for any reason
_UNSORTED, _DAMAGED, _NO_UMI, _NO_MD, _CIGAR_MISMATCH, _NO_CIGAR, _BEYOND = range(1, 8)
_DROPPED = -1


@dataclass(frozen=True)
class ReadRules:
    """Which reads count, and where.

    ``mate`` 1 or 2 of a pair is used (single reads always are); its 5' or 3' ``end`` gives the position; ``flip`` swaps
    strands. ``umi`` is ``none``, ``name`` (text after the last ``_`` or ``:`` of the read name) or a two-letter tag.
    ``max_clip`` drops reads with more soft-clipped bases at that end; ``move_cap_g`` moves a read whose first aligned base
    is a G that the reference lacks (by its MD tag) one base inwards: the cap's non-templated G.
    """

    min_mapq: int = 30
    mate: Literal[1, 2] = 1
    end: Literal[5, 3] = 5
    flip: bool = False
    drop_flagged_duplicates: bool = False
    max_clip: int | None = None
    move_cap_g: bool = False
    umi: str = "none"


class _Settings(NamedTuple):
    """:class:`ReadRules` as numbers for the compiled loop; ``max_clip`` -1 is any, ``umi`` see :func:`_umi_source`."""

    min_mapq: int
    mate_flag: int
    three_prime: bool
    flip: bool
    drop_duplicates: bool
    max_clip: int
    move_cap_g: bool
    umi: int

    @classmethod
    def of(cls, rules: ReadRules) -> "_Settings":
        max_clip = -1 if rules.max_clip is None else rules.max_clip
        mate = _FIRST_MATE if rules.mate == 1 else _SECOND_MATE
        return cls(
            rules.min_mapq, mate, rules.end == 3, rules.flip, rules.drop_flagged_duplicates, max_clip, rules.move_cap_g,
            _umi_source(rules.umi),
        )  # fmt: skip


class _Sites(NamedTuple):
    """Where each contig's sites begin, positions, and alleles ``[site, 2]`` in BAM's 4-bit code."""

    first: NDArray[np.int64]
    positions: NDArray[np.int64]
    alleles: NDArray[np.uint8]


class ReadEnds(NamedTuple):
    """Ends of some reads: keys, UMI codes (empty without UMIs), and the key below which no later read can be."""

    keys: NDArray[np.uint64]
    umis: NDArray[np.uint64]
    watermark: int


REFERENCE, ALTERNATIVE, OTHER, LOW_QUALITY = range(4)
"""What a read has at a site (:class:`AllelicReads`)."""


@dataclass(frozen=True)
class AllelicReads:
    """Reads of one contig that cover at least one site, in file order.

    ``end`` int64 is ``position << 1 | strand`` of the counted end; ``umi`` its UMI's code (empty without UMIs); ``moved``
    whether an allele swap moves the read (STAR's and align_reads.py's tag vW above 1). Observations of read r are
    ``offsets[r]:offsets[r + 1]`` of ``site`` (number on the contig) and ``seen`` (REFERENCE, ALTERNATIVE, OTHER, LOW_QUALITY).
    """

    contig: str
    end: NDArray[np.int64]
    umi: NDArray[np.uint64]
    moved: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    site: NDArray[np.int32]
    seen: NDArray[np.uint8]

    @classmethod
    def join(cls, contig: str, parts: Sequence["AllelicReads"]) -> "AllelicReads":
        """Several lots of reads of one contig as one."""

        def joined(name: str, kind: type[np.generic]) -> NDArray[Any]:
            return np.concatenate([getattr(part, name) for part in parts] or [np.empty(0, kind)])

        sizes = np.concatenate([np.diff(part.offsets) for part in parts] or [np.empty(0, np.int64)])
        return cls(
            contig, joined("end", np.int64), joined("umi", np.uint64), joined("moved", np.bool_),
            np.append(0, np.cumsum(sizes)), joined("site", np.int32), joined("seen", np.uint8),
        )  # fmt: skip


SitesOfContigs = Mapping[str, tuple[NDArray[np.int64], NDArray[np.uint8]]]
"""Sites by contig: sorted 0-based positions, and base codes (A0 C1 G2 T3) of reference and alternative ``[site, 2]``."""


class AlignmentStream:
    """One alignment file: its ``contigs`` and lengths in the order of its header, and the ends of its reads in batches.

    ``tally`` counts what was seen and dropped (:data:`TALLIES`) as batches are drawn. ``kept`` marks the contigs whose
    reads count (all, until :func:`open_runs` says otherwise).
    """

    def __init__(self, path: Path, reference: Path | None = None) -> None:
        self.path = path
        self.tally = np.zeros(len(TALLIES), np.int64)
        self._process: subprocess.Popen[bytes] | None = None
        self._file = self._open(reference)
        self._inflated = bgzf.inflate(self._file, path)
        self._buffer = b""
        self.contigs = self._read_header()
        self.kept = np.ones(len(self.contigs), np.bool_)
        self._numbers: NDArray[np.int64] | None = None  # by own number, where keys follow the header of another file

    def _open(self, reference: Path | None) -> IO[bytes]:
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such file; check the path")
        file = self.path.open("rb")
        magic = file.read(4)
        file.seek(0)
        if magic[:2] == bgzf.MAGIC[:2]:
            return file
        file.close()
        if not magic:
            raise DataError(f"{self.path}: the file is empty; expected BAM or CRAM")
        options = []
        if magic == b"CRAM":
            if reference is None:
                raise DataError(f"{self.path}: a CRAM needs its reference genome; pass --reference genome.fa")
            if not reference.is_file():
                raise DataError(f"{reference}: no such file; check the path of the reference")
            options = ["-T", str(reference)]
        elif magic[:1] != b"@":
            raise DataError(f"{self.path}: not BAM, CRAM or SAM with a header")
        program = "import sys, pysam; pysam.view(*sys.argv[1:], catch_stdout=False)"
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115  # read when the process has ended
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, "-u", *options, "--", str(self.path)],
            stdout=subprocess.PIPE,
            stderr=self._messages,
            preexec_fn=end_with_parent,
        )
        assert self._process.stdout is not None
        return self._process.stdout

    def _more(self) -> bool:
        """Append inflated bytes to the buffer; False at the end of the file."""
        try:
            block = next(self._inflated)
        except StopIteration:
            return False
        except DataError:
            self._check_process()
            raise
        self._buffer += block
        return True

    def _check_process(self) -> None:
        """Raise what htslib said when the converting process failed, or found the file cut."""
        if self._process is None:
            return
        self._process.communicate()
        self._messages.seek(0)
        said = self._messages.read().decode(errors="replace").strip().splitlines()
        cut = next((line for line in said if "EOF marker is absent" in line), None)
        if self._process.returncode or cut:
            raise DataError(f"{self.path}: cannot be read ({cut or (said[0] if said else 'htslib failed')})")

    def _take(self, at: int, size: int) -> bytes:
        """``size`` bytes of the header from ``at``."""
        while len(self._buffer) < at + size:
            if not self._more():
                raise DataError(f"{self.path}: the BAM header is incomplete; the file is truncated, copy it again")
        return self._buffer[at : at + size]

    def _take_number(self, at: int, most: int) -> int:
        (number,) = struct.unpack("<i", self._take(at, 4))
        if not 0 <= number <= most:
            raise DataError(f"{self.path}: the BAM header is damaged; copy or write the file again")
        return int(number)

    def _read_header(self) -> dict[str, int]:
        if self._take(0, 4) != b"BAM\1":
            raise DataError(f"{self.path}: gzipped, but not a BAM file")
        text = self._take(8, self._take_number(4, _LARGEST_HEADER))
        for length in re.findall(rb"\tLN:(\d+)", text):
            if int(length) > LONGEST_CONTIG:
                raise DataError(f"{self.path}: a contig of {int(length):,} bp; BAM holds at most {LONGEST_CONTIG:,} bp")
        at = 8 + len(text)
        count, contigs = self._take_number(at, _MOST_CONTIGS), dict[str, int]()
        at += 4
        for _ in range(count):
            size = self._take_number(at, _LONGEST_NAME)
            name = self._take(at + 4, size)[:-1].decode(errors="replace")
            if name in contigs:
                raise DataError(f"{self.path}: contig {name} occurs twice in the header; write the file again")
            contigs[name] = self._take_number(at + 4 + size, LONGEST_CONTIG)
            at += 8 + size
        self._buffer = self._buffer[at:]
        return contigs

    def follow(self, contigs: Mapping[str, int]) -> None:
        """Number the contigs of keys as ``contigs`` (of another file) does, which must hold all that are kept."""
        if list(contigs) != list(self.contigs):
            places = {name: number for number, name in enumerate(contigs)}
            self._numbers = np.array([places.get(name, len(contigs)) for name in self.contigs], np.int64)

    def batches(self, rules: ReadRules) -> Iterator[ReadEnds]:
        """Ends of the reads that pass ``rules`` on the kept contigs.

        Raises DataError when the file is truncated, damaged or not sorted by coordinate, and for a read that lacks its UMI
        or MD tag where they are needed, that reaches beyond its contig, or whose CIGAR is absent or does not fit its bases.
        """
        settings, lengths = _Settings.of(rules), np.array([*self.contigs.values()], np.int64)
        place = np.zeros(2, np.int64)  # contig and leftmost position of the last record
        for data in self._chunks():
            keys = np.empty(len(data) // _SMALLEST_RECORD + 1, np.uint64)
            umis = np.empty(len(keys) if settings.umi else 0, np.uint64)
            consumed, found, problem = _scan(data, self.kept, lengths, settings, self.tally, place, keys, umis)
            if problem:
                raise self._explain(problem, consumed, rules)
            self._buffer = self._buffer[consumed:]
            if self._numbers is not None:  # in another order: a read of any place may follow
                yield ReadEnds(_renumbered(keys[:found], self._numbers), umis[:found], 0)
                continue
            unmapped = place[0] >= len(self.kept)
            watermark = (int(place[0]) << CONTIG_SHIFT) | (0 if unmapped else int(place[1]) << 1)
            yield ReadEnds(keys[:found], umis[:found], watermark)

    def count_alleles(
        self, sites: NDArray[np.uint64], alleles: NDArray[np.uint8], min_mapq: int, min_quality: int = 20
    ) -> NDArray[np.int64]:
        """Reads with the first and the second allele at each site, shape ``[site, 2]``.

        ``sites`` are sorted keys (strand 0); ``alleles`` ``[site, 2]`` are single bases in BAM's 4-bit code (A 1, C 2, G 4, T 8).
        Raises DataError as :meth:`batches`.
        """
        own = sites
        if self._numbers is not None:
            back = np.full(
                max(int(self._numbers.max(initial=0)), int(sites.max(initial=0)) >> CONTIG_SHIFT) + 1, len(self.contigs)
            )
            back[self._numbers] = np.arange(len(self._numbers))
            own = _renumbered(sites, back)
        order = np.argsort(own, kind="stable")
        counts = np.zeros((len(sites), 2), np.int64)
        for data in self._chunks():
            consumed, problem = _count_alleles(data, own[order], alleles[order], min_mapq, min_quality, counts)
            if problem:
                raise self._explain(problem, consumed, ReadRules())
            self._buffer = self._buffer[consumed:]
        return counts[np.argsort(order)]

    def enter(self, offset: int) -> None:
        """Go to a record by its virtual offset in an index (SAM specification, section 4.1.1)."""
        self._file.seek(offset >> 16)
        self._inflated, self._buffer = bgzf.inflate(self._file, self.path), b""
        self._more()
        self._buffer = self._buffer[offset & 0xFFFF :]

    def close(self) -> None:
        """Close the file before its end."""
        self._file.close()

    def allelic_reads(
        self, rules: ReadRules, sites: SitesOfContigs, min_quality: int, only: str | None = None
    ) -> Iterator[AllelicReads]:
        """The reads that count by ``rules`` and cover a site, in pieces of one contig each; ``only`` stops behind that contig.

        Raises DataError as :meth:`batches`.
        """
        settings, lengths, names = _Settings.of(rules), np.array([*self.contigs.values()], np.int64), list(self.contigs)
        table, place = self._sites_in_order(sites), np.zeros(2, np.int64)
        for data in self._chunks():
            # Untouched pages cost nothing, and no read has more sites than bases.
            most, bases = len(data) // _SMALLEST_RECORD + 1, len(data) + 1
            ends, umis = np.empty(most, np.int64), np.empty(most if settings.umi else 0, np.uint64)
            moved, offsets = np.empty(most, np.bool_), np.zeros(most + 1, np.int64)
            site, seen = np.empty(bases, np.int32), np.empty(bases, np.uint8)
            done, more = 0, True
            while more:
                used, found, problem, contig, more = _scan_sites(
                    data[done:], self.kept, lengths, settings, self.tally, place, table, min_quality,
                    ends, umis, moved, offsets, site, seen,
                )  # fmt: skip
                done += used
                if problem:
                    raise self._explain(problem, done, rules)
                if found:
                    observed = offsets[found]
                    yield AllelicReads(
                        names[contig], ends[:found].copy(), umis[:found].copy(), moved[:found].copy(),
                        offsets[: found + 1].copy(), site[:observed].copy(), seen[:observed].copy(),
                    )  # fmt: skip
                if only is not None and more:
                    return
            self._buffer = self._buffer[done:]

    def _sites_in_order(self, sites: SitesOfContigs) -> "_Sites":
        """Sites in the order of the file's contigs."""
        none = np.empty(0, np.int64), np.empty((0, 2), np.uint8)
        chosen = [sites.get(name, none) for name in self.contigs]
        first = np.append(0, np.cumsum([len(positions) for positions, _ in chosen]))
        alleles = np.concatenate([alleles for _, alleles in chosen] or [none[1]])
        positions = np.concatenate([positions for positions, _ in chosen] or [none[0]])
        return _Sites(first.astype(np.int64), positions, np.left_shift(np.uint8(1), alleles))

    def _chunks(self) -> Iterator[NDArray[np.uint8]]:
        """Inflated bytes that start with a record; the consumer cuts off what it used from ``_buffer`` before the next."""
        more = True  # the header's last block may hold records
        while more:
            yield np.frombuffer(self._buffer, np.uint8)
            more = self._more()
        if self._buffer:
            raise DataError(f"{self.path}: ends within a record; the file is truncated, copy it again")
        self._check_process()
        self._file.close()

    def _explain(self, problem: int, at: int, rules: ReadRules) -> DataError:
        number = int(self.tally[_ALIGNMENTS])
        if problem == _DAMAGED:
            return DataError(f"{self.path}: record {number} is damaged; copy or write the file again")
        name = self._buffer[at + _NAME : at + _NAME + self._buffer[at + _NAME_LENGTH] - 1].decode(errors="replace")
        (contig,) = struct.unpack("<i", self._buffer[at + _CONTIG : at + _CONTIG + 4])
        where = "in its name after the last _ or :" if rules.umi == "name" else f"in tag {rules.umi}"
        said = {
            _UNSORTED: f"not sorted by coordinate (read {name}, record {number}); run samtools sort, an index is not needed",
            _NO_MD: f"read {name} has no MD tag; add it with samtools calmd or keep --cap-g keep",
            _NO_UMI: f"read {name} has no UMI {where}; choose --umi name, a tag, or none",
            _CIGAR_MISMATCH: f"read {name} (record {number}) has a CIGAR that does not fit its bases; align the reads again",
            _NO_CIGAR: f"read {name} (record {number}) is mapped but its CIGAR covers no base; align the reads again",
        }
        if problem == _BEYOND:
            contig_name, length = list(self.contigs.items())[contig]
            said[_BEYOND] = (
                f"read {name} (record {number}) reaches beyond the end of {contig_name} ({length:,} bp); "
                "the header is of another genome, align the reads again"
            )
        return DataError(f"{self.path}: {said[problem]}")


def open_runs(
    paths: Sequence[Path], reference: Path | None, mask: Callable[[Mapping[str, int], Path], NDArray[np.bool_]]
) -> list[AlignmentStream]:
    """The alignment files of one library; ``mask`` marks the contigs of a header that count.

    Their headers may differ in order and in contigs that do not count; keys of all follow the first header. Raises DataError
    when a file cannot be read, contigs that count differ in name or length, or a file is given twice.
    """
    refuse_repeated(paths)
    streams = [AlignmentStream(path, reference) for path in paths]
    for stream in streams:
        stream.kept = mask(stream.contigs, stream.path)
        counted, expected = _kept_contigs(stream), _kept_contigs(streams[0])
        differing = next((name for name in expected | counted if expected.get(name) != counted.get(name)), None)
        if differing is not None:
            lengths = [
                f"{lengths[differing]:,} bp" if differing in lengths else "absent" for lengths in (counted, expected)
            ]
            raise DataError(
                f"{stream.path}: its contigs differ from those of {paths[0]} ({differing}: {lengths[0]} against {lengths[1]}); "
                "align both to one reference"
            )
        stream.follow(streams[0].contigs)
    return streams


def _kept_contigs(stream: AlignmentStream) -> dict[str, int]:
    return {name: length for (name, length), kept in zip(stream.contigs.items(), stream.kept, strict=True) if kept}


def _renumbered(keys: NDArray[np.uint64], numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Keys with each contig's number replaced."""
    contig = numbers[(keys >> np.uint64(CONTIG_SHIFT)).astype(np.int64)].astype(np.uint64)
    return contig << np.uint64(CONTIG_SHIFT) | keys & np.uint64(POSITION_MASK)


def _umi_source(umi: str) -> int:
    """0 none, 1 read name, otherwise the two letters of the tag as a little-endian number."""
    if umi in ("none", "name"):
        return ("none", "name").index(umi)
    if len(umi) != 2 or not umi.isalnum():
        raise DataError(f"--umi {umi}: not none, name or a two-letter tag such as RX")
    return ord(umi[0]) | ord(umi[1]) << 8


# ------------------------------------------------------------------------------------------------- compiled record walk
# Byte offsets of a record's fields, flags and operations as the SAM specification (sections 1.4 and 4.2) has them.

_CONTIG, _POSITION, _NAME_LENGTH, _MAPQ, _OPERATIONS, _FLAG, _LENGTH, _NAME = 4, 8, 12, 13, 16, 18, 20, 36
_SMALLEST_RECORD, _LARGEST_RECORD = _NAME + 1, 1 << 28
_PAIRED, _UNMAPPED_READ, _REVERSE, _FIRST_MATE, _SECOND_MATE = 0x1, 0x4, 0x10, 0x40, 0x80
_SECONDARY_READ, _FAILED_READ, _DUPLICATE_READ, _SUPPLEMENTARY_READ = 0x100, 0x200, 0x400, 0x800
_NOT_COUNTED = _UNMAPPED_READ | _SECONDARY_READ | _FAILED_READ | _SUPPLEMENTARY_READ
_M, _I, _D, _N, _S, _EQUAL, _X = 0, 1, 2, 3, 4, 7, 8
_BASE_C, _BASE_G = 2, 4  # 4-bit codes
_MD, _VW = ord("M") | ord("D") << 8, ord("v") | ord("W") << 8
_NUMBERS = tuple(ord(letter) for letter in "cCsSiI")
# The letters that tell a tag's type.
_TEXT, _HEX, _ARRAY, _ONE_BYTE, _TWO_BYTES = (
    ord("Z"),
    ord("H"),
    ord("B"),
    (ord("A"), ord("c"), ord("C")),
    (ord("s"), ord("S")),
)
_UMI_DIGITS = np.zeros(256, np.uint8)
_UMI_DIGITS[np.frombuffer(b"ACGTN+-", np.uint8)] = (1, 2, 3, 4, 5, 6, 6)  # + or - is between the halves of a dual UMI
_UMI_MARKS, _DIGIT_0 = (ord("_"), ord(":")), ord("0")


@njit(cache=True)
def _u16(data, at):  # type: ignore[no-untyped-def]
    return np.int64(data[at]) | np.int64(data[at + 1]) << 8


@njit(cache=True)
def _u32(data, at):  # type: ignore[no-untyped-def]
    return _u16(data, at) | _u16(data, at + 2) << 16


@njit(cache=True)
def _i32(data, at):  # type: ignore[no-untyped-def]
    return np.int64(np.int32(_u32(data, at)))


@njit(cache=True)
def _parts(data, at):  # type: ignore[no-untyped-def]
    """Where a record's CIGAR, bases, qualities and tags begin."""
    cigar = at + _NAME + np.int64(data[at + _NAME_LENGTH])
    bases = cigar + 4 * _u16(data, at + _OPERATIONS)
    length = _u32(data, at + _LENGTH)
    qualities = bases + (length + 1) // 2
    return cigar, bases, qualities, qualities + length


@njit(cache=True)
def _record_end(data, at):  # type: ignore[no-untyped-def]
    """The end of the record at ``at``; 0 when ``data`` end before it, -1 when it is damaged."""
    if at + 4 > len(data):
        return 0
    size = 4 + _u32(data, at)
    if not _SMALLEST_RECORD <= size <= _LARGEST_RECORD:
        return -1
    if at + size > len(data):
        return 0
    cigar, _, _, tags = _parts(data, at)
    return -1 if cigar == at + _NAME or tags > at + size else at + size


@njit(cache=True)
def _small_number(data, at, end, wanted):  # type: ignore[no-untyped-def]
    """The lowest byte of a whole-number tag among the optional fields ``[at, end)``, or -1."""
    while at + 3 < end:
        if _u16(data, at) == wanted and data[at + 2] in _NUMBERS:
            return np.int64(data[at + 3])
        at = _next_tag(data, at, end)
    return np.int64(-1)


@njit(cache=True)
def _next_tag(data, at, end):  # type: ignore[no-untyped-def]
    """Where the optional field behind the one at ``at`` begins; ``end`` when this one is cut."""
    kind = data[at + 2]
    at += 3
    if kind in (_TEXT, _HEX):
        while at < end and data[at] != 0:
            at += 1
        return at + 1
    if kind == _ARRAY:
        if at + 5 > end:
            return end
        width = 1 if data[at] in _ONE_BYTE else 2 if data[at] in _TWO_BYTES else 4
        return at + 5 + width * _u32(data, at + 1)
    if kind in _ONE_BYTE:
        return at + 1
    return at + 2 if kind in _TWO_BYTES else at + 4  # integers and floats of four bytes


@njit(cache=True)
def _tag(data, at, end, wanted):  # type: ignore[no-untyped-def]
    """Start of the text of a string tag among the optional fields ``[at, end)``, or -1."""
    while at + 3 < end:
        if _u16(data, at) == wanted and data[at + 2] in (_TEXT, _HEX):
            return at + 3
        at = _next_tag(data, at, end)
    return -1


@njit(cache=True)
def _base(data, sequence, index):  # type: ignore[no-untyped-def]
    """A read base in BAM's 4-bit code (A 1, C 2, G 4, T 8)."""
    packed = data[sequence + (index >> 1)]
    return packed >> 4 if index % 2 == 0 else packed & 15


@njit(cache=True)
def _umi_code(data, at, end):  # type: ignore[no-untyped-def]
    """Bases (ACGTN, with + or - between the halves of a dual UMI) from ``at`` to ``end`` or a zero byte; 0 if none or other.

    Exact up to 22 bases, a polynomial hash beyond.
    """
    code = np.uint64(0)
    for i in range(at, end):
        letter = data[i]
        if letter == 0:
            break
        if _UMI_DIGITS[letter] == 0:
            return np.uint64(0)
        code = code * np.uint64(7) + np.uint64(_UMI_DIGITS[letter])
    return code


@njit(cache=True)
def _read_umi(data, at, end, source):  # type: ignore[no-untyped-def]
    """The UMI of the record ``[at, end)`` from its name (``source`` 1) or a tag; 0 if none."""
    cigar, _, _, tags = _parts(data, at)
    if source > 1:
        start = _tag(data, tags, end, source)
        return np.uint64(0) if start < 0 else _umi_code(data, start, end)
    start = name_end = cigar - 1
    while start > at + _NAME and data[start - 1] not in _UMI_MARKS:
        start -= 1
    return np.uint64(0) if start == at + _NAME else _umi_code(data, start, name_end)


@njit(cache=True)
def _first_base_differs(data, text, end, last):  # type: ignore[no-untyped-def]
    """Whether an MD string starts (or, ``last``, ends) with a mismatch: it then has a 0 next to that base."""
    stop = text
    while stop < end and data[stop] != 0:
        stop += 1
    if last:
        return data[stop - 1] == _DIGIT_0 and not (_DIGIT_0 <= data[stop - 2] <= _DIGIT_0 + 9)
    return data[text] == _DIGIT_0


@njit(cache=True)
def _exclusion(flag, mapq, kept, settings):  # type: ignore[no-untyped-def]
    """The tally of the reason why a read does not count, or ``_COUNTS``."""
    if flag & _UNMAPPED_READ:
        return _UNMAPPED
    if flag & _SECONDARY_READ:
        return _SECONDARY
    if flag & _SUPPLEMENTARY_READ:
        return _SUPPLEMENTARY
    if flag & _FAILED_READ:
        return _FAILED
    if flag & _PAIRED and not flag & settings.mate_flag:
        return _OTHER_MATE
    if not kept:
        return _EXCLUDED
    if mapq < settings.min_mapq:
        return _LOW_MAPQ
    return _COUNTS


@njit(cache=True)
def _extent(data, cigar, bases, left):  # type: ignore[no-untyped-def]
    """Reference bases that a CIGAR spans, bases soft-clipped at its ``left`` or right end, and bases of the read."""
    span, clip, length = np.int64(0), np.int64(0), np.int64(0)
    for at in range(cigar, bases, 4):
        operation = _u32(data, at)
        kind, count = operation & 15, operation >> 4
        if kind in (_M, _D, _N, _EQUAL, _X):
            span += count
        if kind in (_M, _I, _S, _EQUAL, _X):
            length += count
        if kind == _S and left == (span == 0):
            clip = count
    return span, clip, length


@njit(cache=True)
def _read_end(data, at, end, contig_length, settings, tally):  # type: ignore[no-untyped-def]
    """Position of the wanted end of the read ``[at, end)``, and why it has none: a problem, or ``_DROPPED``."""
    cigar, bases, _, tags = _parts(data, at)
    length, position = _u32(data, at + _LENGTH), _i32(data, at + _POSITION)
    reverse = (_u16(data, at + _FLAG) & _REVERSE) != 0
    left = reverse == settings.three_prime  # the wanted end is the alignment's leftmost base
    span, clip, in_cigar = _extent(data, cigar, bases, left)
    if length and length != in_cigar:
        return np.int64(0), _CIGAR_MISMATCH
    if span == 0:
        return np.int64(0), _NO_CIGAR
    if position < 0 or position + span > contig_length:
        return np.int64(0), _BEYOND
    cap = _BASE_C if reverse else _BASE_G
    if clip:
        outer = clip - 1 if left else length - clip
        if clip == 1 and length and _base(data, bases, outer) == cap:
            tally[_CLIP_G] += 1
        else:
            tally[_CLIP_OTHER] += 1
        if 0 <= settings.max_clip < clip:
            tally[_LONG_CLIP] += 1
            return np.int64(0), _DROPPED
    found = position if left else position + span - 1
    movable = settings.move_cap_g and clip == 0 and length > 0 and span > 1
    if movable and _base(data, bases, 0 if left else length - 1) == cap:
        text = _tag(data, tags, end, _MD)
        if text < 0:
            return np.int64(0), _NO_MD
        if _first_base_differs(data, text, end, not left):
            tally[_MOVED_G] += 1
            found += 1 if left else -1
    return found, 0


@njit(cache=True)
def _counted_end(data, at, end, kept, lengths, settings, tally, place):  # type: ignore[no-untyped-def]
    """Contig and position of the counted end of a record; a problem, or ``_DROPPED`` when the read does not count.

    Adds to ``tally`` and moves ``place``; ``end`` is that of :func:`_record_end`.
    """
    tally[_ALIGNMENTS] += 1
    contig = _i32(data, at + _CONTIG) if end > 0 else len(kept)
    if end < 0 or not -1 <= contig < len(kept):
        return contig, np.int64(0), _DAMAGED
    flag = _u16(data, at + _FLAG)
    position = max(_i32(data, at + _POSITION), 0)
    if contig < 0:
        contig, position, flag = np.int64(len(kept)), np.int64(0), flag | _UNMAPPED_READ
    if contig < place[0] or (contig == place[0] and position < place[1]):
        return contig, position, _UNSORTED
    place[0], place[1] = contig, position
    reason = _exclusion(flag, data[at + _MAPQ], contig < len(kept) and kept[contig], settings)
    if reason == _COUNTS and flag & _DUPLICATE_READ:
        tally[_DUPLICATES_SEEN] += 1
        if settings.drop_duplicates:
            reason = _DUPLICATE
    if reason != _COUNTS:
        tally[reason] += 1
        return contig, position, _DROPPED
    position, problem = _read_end(data, at, end, lengths[contig], settings, tally)
    return contig, position, problem


@njit(cache=True)
def _counted_strand(data, at, settings):  # type: ignore[no-untyped-def]
    """0 plus or 1 minus: the strand on which the record counts."""
    return 1 if ((_u16(data, at + _FLAG) & _REVERSE) != 0) != settings.flip else 0


@njit(cache=True, nogil=True)
def _scan(data, kept, lengths, settings, tally, place, keys, umis):  # type: ignore[no-untyped-def]
    """Walk whole records of ``data``: fill keys (and UMIs), add to ``tally``, move ``place``; (consumed, found, problem)."""
    at, found = np.int64(0), 0
    while True:
        end = _record_end(data, at)
        if end == 0:
            return at, found, 0
        contig, position, problem = _counted_end(data, at, end, kept, lengths, settings, tally, place)
        if problem > 0:
            return at, found, problem
        if problem == 0:
            if settings.umi:
                umi = _read_umi(data, at, end, settings.umi)
                if umi == 0:
                    return at, found, _NO_UMI
                umis[found] = umi
            keys[found] = contig << CONTIG_SHIFT | position << 1 | _counted_strand(data, at, settings)
            found += 1
        at = end


@njit(cache=True, nogil=True)
def _scan_sites(  # type: ignore[no-untyped-def]
    data, kept, lengths, settings, tally, place, sites, min_quality, ends, umis, moved, offsets, site, seen
):
    """As :func:`_scan`, for the reads over ``sites`` of one contig: (consumed, found, problem, contig, whether another follows)."""
    at, found, observed = np.int64(0), 0, np.int64(0)
    current, pointer = np.int64(-2), np.int64(0)
    while True:
        end = _record_end(data, at)
        if end == 0:
            return at, found, 0, current, False
        if end > 0:
            contig = _i32(data, at + _CONTIG)
            if current == -2 and 0 <= contig < len(kept):
                pointer = sites.first[contig]
                pointer += np.searchsorted(
                    sites.positions[pointer : sites.first[contig + 1]], _i32(data, at + _POSITION)
                )
            elif contig != current and current != -2:
                return at, found, 0, current, True
            current = contig
        contig, position, problem = _counted_end(data, at, end, kept, lengths, settings, tally, place)
        if problem > 0:
            return at, found, problem, current, False
        if problem == 0:
            before = observed
            pointer, observed = _look(data, at, sites, pointer, contig, min_quality, observed, site, seen)
            if observed > before:
                if settings.umi:
                    umi = _read_umi(data, at, end, settings.umi)
                    if umi == 0:
                        return at, found, _NO_UMI, current, False
                    umis[found] = umi
                ends[found] = position << 1 | _counted_strand(data, at, settings)
                moved[found] = _small_number(data, _parts(data, at)[3], end, _VW) > 1
                found += 1
                offsets[found] = observed
        at = end


@njit(cache=True)
def _look(data, at, sites, pointer, contig, min_quality, observed, site, seen):  # type: ignore[no-untyped-def]
    """Note what a read has at the sites that it covers; the first site not before it, and the observations so far."""
    cigar, bases, qualities, _ = _parts(data, at)
    position, base = _i32(data, at + _POSITION), np.int64(0)
    last = sites.first[contig + 1]
    while pointer < last and sites.positions[pointer] < position:
        pointer += 1
    here = pointer
    if here == last or not _u32(data, at + _LENGTH):
        return pointer, observed
    for operation_at in range(cigar, bases, 4):
        operation = _u32(data, operation_at)
        kind, count = operation & 15, operation >> 4
        if kind in (_M, _EQUAL, _X):
            while here < last and sites.positions[here] < position + count:
                offset = base + sites.positions[here] - position
                letter = _base(data, bases, offset)
                if data[qualities + offset] < min_quality or letter not in (1, 2, 4, 8):
                    seen[observed] = LOW_QUALITY
                elif letter == sites.alleles[here, 0]:
                    seen[observed] = REFERENCE
                elif letter == sites.alleles[here, 1]:
                    seen[observed] = ALTERNATIVE
                else:
                    seen[observed] = OTHER
                site[observed] = here - sites.first[contig]
                observed += 1
                here += 1
        elif kind in (_D, _N):
            while here < last and sites.positions[here] < position + count:
                here += 1
        if here == last:
            break
        if kind in (_M, _D, _N, _EQUAL, _X):
            position += count
        if kind in (_M, _I, _S, _EQUAL, _X):
            base += count
    return pointer, observed


@njit(cache=True)
def _key(contig, position):  # type: ignore[no-untyped-def]
    return np.uint64(contig << CONTIG_SHIFT | position << 1)


@njit(cache=True)
def _count_alleles(data, sites, alleles, min_mapq, min_quality, counts):  # type: ignore[no-untyped-def]
    """Count alleles of usable reads over sorted sites; (consumed, problem)."""
    at = np.int64(0)
    while True:
        end = _record_end(data, at)
        if end <= 0:
            return at, _DAMAGED if end < 0 else 0
        cigar, bases, qualities, _ = _parts(data, at)
        contig, position, length = _i32(data, at + _CONTIG), _i32(data, at + _POSITION), _u32(data, at + _LENGTH)
        if _u16(data, at + _FLAG) & _NOT_COUNTED or data[at + _MAPQ] < min_mapq or contig < 0 or not length:
            at = end
            continue
        if position < 0 or _extent(data, cigar, bases, True)[2] != length:
            return at, _CIGAR_MISMATCH
        at = end
        site = np.searchsorted(sites, _key(contig, position))
        base = np.int64(0)
        for operation_at in range(cigar, bases, 4):
            operation = _u32(data, operation_at)
            kind, count = operation & 15, operation >> 4
            if kind in (_M, _EQUAL, _X):
                while site < len(sites) and sites[site] < _key(contig, position + count):
                    offset = base + np.int64((sites[site] & np.uint64(POSITION_MASK)) >> np.uint64(1)) - position
                    if data[qualities + offset] >= min_quality:
                        letter = _base(data, bases, offset)
                        if letter == alleles[site, 0]:
                            counts[site, 0] += 1
                        elif letter == alleles[site, 1]:
                            counts[site, 1] += 1
                    site += 1
            elif kind in (_D, _N):
                while site < len(sites) and sites[site] < _key(contig, position + count):
                    site += 1
            if kind in (_M, _D, _N, _EQUAL, _X):
                position += count
            if kind in (_M, _I, _S, _EQUAL, _X):
                base += count
