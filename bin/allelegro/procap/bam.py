"""Stream read ends out of alignments: BGZF blocks are inflated in turn and a compiled loop walks the raw BAM records.

A read end is one number, a key that sorts in genome order: ``contig << 33 | position << 1 | strand`` (strand 1 is minus).
Files are read once from start to end, so no index is needed; they must be sorted by coordinate.
CRAM and SAM are turned into uncompressed BAM by htslib (pysam) in a second process and read through a pipe.
"""

import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, NamedTuple

import numpy as np
from isal import isal_zlib
from numba import njit
from numpy.typing import NDArray

from allelegro.errors import DataError

_InflateError: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # the stub says instance, it is a class
_INFLATE_AT_ONCE = 1 << 20  # compressed bytes; some megabytes of records
_SMALLEST_RECORD = 36
CONTIG_SHIFT = 33

# What the compiled loop counts, by place in its tally.
TALLIES = (
    "alignments",
    "unmapped",
    "secondary",
    "supplementary",
    "failed quality control",
    "other mate",
    "contig left out",
    "low MAPQ",
    "flagged duplicate",
    "long 5' clip",
    "flagged duplicates seen",
    "5' soft clip of one G",
    "5' soft clip of other bases",
    "mismatched 5' G moved",
)
(
    _ALIGNMENTS, _UNMAPPED, _SECONDARY, _SUPPLEMENTARY, _FAILED, _OTHER_MATE, _LEFT_OUT, _LOW_MAPQ, _DUPLICATE, _LONG_CLIP,
    _DUPLICATES_SEEN, _CLIP_G, _CLIP_OTHER, _MOVED_G,
) = range(len(TALLIES))  # fmt: skip
_UNSORTED, _MALFORMED, _NO_UMI, _NO_MD = 1, 2, 3, 4


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


class ReadEnds(NamedTuple):
    """Ends of some reads: keys, UMI codes (empty without UMIs), and the key below which no later read can lie."""

    keys: NDArray[np.uint64]
    umis: NDArray[np.uint64]
    watermark: int


class AlignmentStream:
    """One alignment file: its contigs, and the ends of its reads in batches.

    ``tally`` counts what was seen and dropped (:data:`TALLIES`) as batches are drawn.
    """

    def __init__(self, path: Path, reference: Path | None = None) -> None:
        self.path = path
        self.tally = np.zeros(len(TALLIES), np.int64)
        self._process: subprocess.Popen[bytes] | None = None
        self._file = self._open(reference)
        self._inflated = _inflate(self._file, path)
        self._buffer = b""
        self.contigs = self._read_header()

    def _open(self, reference: Path | None) -> IO[bytes]:
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such file; check the path")
        file = self.path.open("rb")
        magic = file.read(4)
        file.seek(0)
        if magic[:2] == b"\x1f\x8b":
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
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, "-u", *options, str(self.path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
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
        """Raise what htslib said when the converting process failed."""
        if self._process is not None:
            said = self._process.communicate()[1].decode(errors="replace").strip().splitlines()
            if self._process.returncode:
                raise DataError(f"{self.path}: cannot be read ({said[0] if said else 'htslib failed'})")

    def _read_header(self) -> dict[str, int]:
        def take(at: int, size: int) -> bytes:
            while len(self._buffer) < at + size:
                if not self._more():
                    raise DataError(f"{self.path}: the BAM header is incomplete; the file is truncated, copy it again")
            return self._buffer[at : at + size]

        if take(0, 4) != b"BAM\1":
            raise DataError(f"{self.path}: gzipped, but not a BAM file")
        at = 8 + struct.unpack("<i", take(4, 4))[0]
        (count,) = struct.unpack("<i", take(at, 4))
        at, contigs = at + 4, {}
        for _ in range(count):
            (size,) = struct.unpack("<i", take(at, 4))
            name = take(at + 4, size)[:-1].decode()
            (contigs[name],) = struct.unpack("<i", take(at + 4 + size, 4))
            at += 8 + size
        self._buffer = self._buffer[at:]
        return contigs

    def batches(self, kept: NDArray[np.bool_], rules: ReadRules) -> Iterator[ReadEnds]:
        """Ends of the reads that pass ``rules`` on the contigs marked in ``kept`` (header order).

        Raises DataError when the file is truncated, damaged, not sorted by coordinate, or lacks a UMI or MD tag it needs.
        """
        settings = np.array(
            [rules.min_mapq, rules.mate, rules.end, rules.flip, rules.drop_flagged_duplicates,
             -1 if rules.max_clip is None else rules.max_clip, rules.move_cap_g, _umi_source(rules.umi)],
            np.int64,
        )  # fmt: skip
        place = np.zeros(2, np.int64)  # contig and leftmost position of the last record
        for data in self._chunks():
            keys = np.empty(len(data) // _SMALLEST_RECORD + 1, np.uint64)
            umis = np.empty(len(keys) if rules.umi != "none" else 0, np.uint64)
            consumed, found, problem = _scan(data, kept, settings, self.tally, place, keys, umis)
            if problem:
                raise self._explain(problem, consumed, rules)
            self._buffer = self._buffer[consumed:]
            unmapped = place[0] >= len(kept)
            watermark = (int(place[0]) << CONTIG_SHIFT) | (0 if unmapped else int(place[1]) << 1)
            yield ReadEnds(keys[:found], umis[:found], watermark)

    def count_alleles(
        self, sites: NDArray[np.uint64], alleles: NDArray[np.uint8], min_mapq: int, min_quality: int = 20
    ) -> NDArray[np.int64]:
        """Reads with the first and the second allele at each site, shape ``[site, 2]``.

        ``sites`` are sorted keys (strand 0); ``alleles`` ``[site, 2]`` are single bases in BAM's 4-bit code (A 1, C 2, G 4, T 8).
        """
        counts = np.zeros((len(sites), 2), np.int64)
        for data in self._chunks():
            consumed, problem = _pile_alleles(data, sites, alleles, min_mapq, min_quality, counts)
            if problem:
                raise self._explain(problem, consumed, ReadRules())
            self._buffer = self._buffer[consumed:]
        return counts

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
        if problem == _MALFORMED:
            return DataError(f"{self.path}: record {number} is damaged; copy or write the file again")
        name = self._buffer[at + 36 : at + 36 + self._buffer[at + 12] - 1].decode(errors="replace")
        if problem == _UNSORTED:
            return DataError(
                f"{self.path}: not sorted by coordinate (read {name}, record {number}); "
                "run samtools sort, an index is not needed"
            )
        if problem == _NO_MD:
            return DataError(f"{self.path}: read {name} has no MD tag; add it with samtools calmd or keep --cap-g keep")
        where = "in its name after the last _ or :" if rules.umi == "name" else f"in tag {rules.umi}"
        return DataError(f"{self.path}: read {name} has no UMI {where}; choose --umi name, a tag, or none")


def _umi_source(umi: str) -> int:
    """0 none, 1 read name, otherwise the two letters of the tag as a little-endian number."""
    if umi in ("none", "name"):
        return ("none", "name").index(umi)
    if len(umi) != 2 or not umi.isalnum():
        raise DataError(f"--umi {umi}: not none, name or a two-letter tag such as RX")
    return ord(umi[0]) | ord(umi[1]) << 8


def _inflate(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """The inflated content of a BGZF stream in pieces; each block's checksum and the end-of-file block are verified."""
    waiting, last_size = b"", -1
    while chunk := file.read(_INFLATE_AT_ONCE):
        data = waiting + chunk
        at, parts = 0, []
        while at + 18 <= len(data):
            if data[at : at + 4] != b"\x1f\x8b\x08\x04" or data[at + 10 : at + 16] != b"\x06\x00BC\x02\x00":
                raise DataError(f"{path}: not block-gzipped as BAM is; the file is damaged, copy or write it again")
            size = int.from_bytes(data[at + 16 : at + 18], "little") + 1
            if at + size > len(data):
                break
            parts.append(_inflate_block(data[at + 18 : at + size - 8], data[at + size - 8 : at + size], path))
            last_size = len(parts[-1])
            at += size
        waiting = data[at:]
        yield b"".join(parts)
    if waiting or last_size != 0:
        raise DataError(f"{path}: ends without the BAM end-of-file block; the file is truncated, copy it again")


def _inflate_block(deflated: bytes, trailer: bytes, path: Path) -> bytes:
    checksum, size = struct.unpack("<II", trailer)
    try:
        block = isal_zlib.decompress(deflated, wbits=-15, bufsize=size or 1)
    except _InflateError:
        raise DataError(f"{path}: a damaged block cannot be inflated; copy the file again") from None
    if len(block) != size or isal_zlib.crc32(block) != checksum:
        raise DataError(f"{path}: a block's checksum is wrong; the file is damaged, copy it again")
    return block


# ------------------------------------------------------------------------------------------------- compiled record walk


@njit(cache=True)
def _u32(data, at):  # type: ignore[no-untyped-def]
    return (
        np.int64(data[at]) | np.int64(data[at + 1]) << 8 | np.int64(data[at + 2]) << 16 | np.int64(data[at + 3]) << 24
    )


@njit(cache=True)
def _tag(data, at, end, wanted):  # type: ignore[no-untyped-def]
    """Start of the text of a string tag among the optional fields ``[at, end)``, or -1."""
    while at + 3 < end:
        name, kind = np.int64(data[at]) | np.int64(data[at + 1]) << 8, data[at + 2]
        at += 3
        if kind == 90 or kind == 72:  # Z, H: text to the next zero byte
            if name == wanted:
                return at
            while at < end and data[at] != 0:
                at += 1
            at += 1
        elif kind == 66:  # B: an array
            width = 1 if data[at] in (99, 67) else 2 if data[at] in (115, 83) else 4
            at += 5 + width * _u32(data, at + 1)
        elif kind in (65, 99, 67):  # A c C
            at += 1
        elif kind in (115, 83):  # s S
            at += 2
        else:  # i I f
            at += 4
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
        if letter == 65:
            digit = 1
        elif letter == 67:
            digit = 2
        elif letter == 71:
            digit = 3
        elif letter == 84:
            digit = 4
        elif letter == 78:
            digit = 5
        elif letter == 43 or letter == 45:
            digit = 6
        else:
            return np.uint64(0)
        code = code * np.uint64(7) + np.uint64(digit)
    return code


@njit(cache=True)
def _read_umi(data, at, end, name_end, fields, source):  # type: ignore[no-untyped-def]
    if source > 1:
        start = _tag(data, fields, end, source)
        return np.uint64(0) if start < 0 else _umi_code(data, start, end)
    start = name_end
    while start > at + 36 and data[start - 1] != 95 and data[start - 1] != 58:  # _ or :
        start -= 1
    return np.uint64(0) if start == at + 36 else _umi_code(data, start, name_end)


@njit(cache=True)
def _first_base_differs(data, text, end, last):  # type: ignore[no-untyped-def]
    """Whether an MD string starts (or, ``last``, ends) with a mismatch: it then has a 0 beside that base."""
    stop = text
    while stop < end and data[stop] != 0:
        stop += 1
    if last:
        return data[stop - 1] == 48 and not (48 <= data[stop - 2] <= 57)
    return data[text] == 48


@njit(cache=True)
def _scan(data, kept, settings, tally, place, keys, umis):  # type: ignore[no-untyped-def]
    """Walk whole records of ``data``: fill keys (and UMIs), add to ``tally``, move ``place``; (consumed, found, problem)."""
    min_mapq, mate, read_end, flip = settings[0], settings[1], settings[2], settings[3]
    drop_duplicates, max_clip, move_g, umi_source = settings[4], settings[5], settings[6], settings[7]
    at, found, size = 0, 0, len(data)
    while at + 4 <= size:
        end = at + 4 + _u32(data, at)
        if end > size:
            break
        tally[_ALIGNMENTS] += 1
        name_length, operations = np.int64(data[at + 12]), np.int64(data[at + 16]) | np.int64(data[at + 17]) << 8
        length = _u32(data, at + 20)
        cigar = at + 36 + name_length
        sequence = cigar + 4 * operations
        fields = sequence + (length + 1) // 2 + length
        if end < at + _SMALLEST_RECORD or name_length == 0 or fields > end:
            return at, found, _MALFORMED
        contig, position = _u32(data, at + 4), _u32(data, at + 8)
        if contig == 0xFFFFFFFF:
            contig, position = np.int64(len(kept)), np.int64(0)
        elif contig >= len(kept) or position >= 0x7FFFFFFF:
            return at, found, _MALFORMED
        if contig < place[0] or (contig == place[0] and position < place[1]):
            return at, found, _UNSORTED
        place[0], place[1] = contig, position
        flag = np.int64(data[at + 18]) | np.int64(data[at + 19]) << 8
        mapq = np.int64(data[at + 13])
        record, at = at, end

        if flag & 4 or contig == len(kept):
            tally[_UNMAPPED] += 1
            continue
        if flag & 0x100:
            tally[_SECONDARY] += 1
            continue
        if flag & 0x800:
            tally[_SUPPLEMENTARY] += 1
            continue
        if flag & 0x200:
            tally[_FAILED] += 1
            continue
        if flag & 1 and not flag & (0x40 if mate == 1 else 0x80):
            tally[_OTHER_MATE] += 1
            continue
        if not kept[contig]:
            tally[_LEFT_OUT] += 1
            continue
        if mapq < min_mapq:
            tally[_LOW_MAPQ] += 1
            continue
        if flag & 0x400:
            tally[_DUPLICATES_SEEN] += 1
            if drop_duplicates:
                tally[_DUPLICATE] += 1
                continue

        reverse = (flag & 16) != 0
        left_end = reverse == (read_end == 3)  # the wanted end is the alignment's leftmost base
        span, clip = np.int64(0), np.int64(0)
        for i in range(operations):
            operation = _u32(data, cigar + 4 * i)
            kind, count = operation & 15, operation >> 4
            if kind == 0 or kind == 2 or kind == 3 or kind == 7 or kind == 8:  # M D N = X use the reference
                span += count
            elif kind == 4 and left_end == (span == 0):  # S on the side of the wanted end
                clip = count
        if clip > 0:
            outer = clip - 1 if left_end else length - clip
            if clip == 1 and _base(data, sequence, outer) == (2 if reverse else 4):
                tally[_CLIP_G] += 1
            else:
                tally[_CLIP_OTHER] += 1
            if 0 <= max_clip < clip:
                tally[_LONG_CLIP] += 1
                continue
        end_position = position if left_end else position + span - 1
        if move_g and clip == 0 and length > 0:
            first = 0 if left_end else length - 1
            if _base(data, sequence, first) == (2 if reverse else 4):
                text = _tag(data, fields, end, 17485)  # MD
                if text < 0:
                    return record, found, _NO_MD
                if _first_base_differs(data, text, end, not left_end):
                    tally[_MOVED_G] += 1
                    end_position += 1 if left_end else -1
        if umi_source:
            umi = _read_umi(data, record, end, record + 35 + name_length, fields, umi_source)
            if umi == 0:
                return record, found, _NO_UMI
            umis[found] = umi
        strand = 1 if reverse != (flip != 0) else 0
        keys[found] = contig << CONTIG_SHIFT | end_position << 1 | strand
        found += 1
    return at, found, 0


@njit(cache=True)
def _pile_alleles(data, sites, alleles, min_mapq, min_quality, counts):  # type: ignore[no-untyped-def]
    """Count alleles of usable reads over sorted sites; (consumed, problem)."""
    at, size = 0, len(data)
    while at + 4 <= size:
        end = at + 4 + _u32(data, at)
        if end > size:
            break
        name_length, operations = np.int64(data[at + 12]), np.int64(data[at + 16]) | np.int64(data[at + 17]) << 8
        length = _u32(data, at + 20)
        cigar = at + 36 + name_length
        sequence = cigar + 4 * operations
        qualities = sequence + (length + 1) // 2
        if end < at + _SMALLEST_RECORD or name_length == 0 or qualities + length > end:
            return at, _MALFORMED
        flag = np.int64(data[at + 18]) | np.int64(data[at + 19]) << 8
        contig, position, mapq = _u32(data, at + 4), _u32(data, at + 8), np.int64(data[at + 13])
        at = end
        if flag & 0xB04 or mapq < min_mapq or contig == 0xFFFFFFFF:
            continue
        site = np.searchsorted(sites, np.uint64(contig << CONTIG_SHIFT | position << 1))
        base = np.int64(0)
        for i in range(operations):
            operation = _u32(data, cigar + 4 * i)
            kind, count = operation & 15, operation >> 4
            if kind == 0 or kind == 7 or kind == 8:  # M = X
                last = np.uint64(contig << CONTIG_SHIFT | (position + count) << 1)
                while site < len(sites) and sites[site] < last:
                    offset = base + np.int64((sites[site] >> np.uint64(1)) & np.uint64(0xFFFFFFFF)) - position
                    if data[qualities + offset] >= min_quality:
                        letter = _base(data, sequence, offset)
                        if letter == alleles[site, 0]:
                            counts[site, 0] += 1
                        elif letter == alleles[site, 1]:
                            counts[site, 1] += 1
                    site += 1
                position += count
                base += count
            elif kind == 2 or kind == 3:  # D N
                position += count
                last = np.uint64(contig << CONTIG_SHIFT | position << 1)
                while site < len(sites) and sites[site] < last:
                    site += 1
            elif kind == 1 or kind == 4:  # I S
                base += count
    return at, 0
