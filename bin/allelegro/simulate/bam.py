"""Reads of molecules, with the donor's own alleles, as BAM records."""

from dataclasses import dataclass, replace
from struct import pack

import numpy as np
from numpy.typing import NDArray

from allelegro.simulate.population import Variants, apply_variants
from allelegro.simulate.procap import UMI_LENGTH, Molecules
from allelegro.simulate.settings import Settings

Codes = NDArray[np.uint8]
Ints = NDArray[np.int64]
QUALITY = 37
NAME_DIGITS = 9
MATCH, INSERTION, DELETION, CLIP = 0, 1, 2, 4
REVERSE = 16
G, C = 2, 1
_NIBBLE = np.array([1, 2, 4, 8, 15], np.uint8)
_LETTER = np.frombuffer(b"ACGT", np.uint8)


def header(contigs: list[tuple[str, int]], library: str, donor: str) -> bytes:
    """BAM header of a coordinate-sorted library."""
    text = "@HD\tVN:1.6\tSO:coordinate\n" + "".join(f"@SQ\tSN:{name}\tLN:{length}\n" for name, length in contigs)
    text += f"@RG\tID:{library}\tSM:{donor}\tLB:{library}\n@PG\tID:simulate_cohort\tPN:simulate_cohort.py\n"
    parts = [b"BAM\x01", pack("<i", len(text)), text.encode(), pack("<i", len(contigs))]
    for name, length in contigs:
        parts.append(pack("<i", len(name) + 1) + name.encode() + b"\0" + pack("<i", length))
    return b"".join(parts)


def personal_chromosome(genome: Codes, variants: Variants, column: int) -> tuple[Codes, Ints]:
    """A whole haplotype: codes and the reference position of each base (-1 for inserted ones)."""
    carried = variants.genotypes[:, column] == 1
    codes, origin = apply_variants(
        genome, 0, len(genome), variants.pos, variants.ref_len, variants.alt, variants.alt_offsets, carried
    )
    return codes, origin


def records(
    molecules: Molecules,
    haplotypes: list[tuple[Codes, Ints]],
    reference_id: int,
    library: str,
    first_read: int,
    settings: Settings,
    rng: np.random.Generator,
) -> tuple[bytes, int]:
    """BAM records, sorted by position, of ``molecules`` on a donor's two chromosomes; and the number of reads.

    A share ``settings.duplicates`` of the molecules is read more than once; a share ``settings.capped_g`` starts with
    the G opposite the cap, soft-clipped where the haplotype itself has no G there.
    """
    capped = rng.random(len(molecules)) < settings.capped_g
    extra = np.where(rng.random(len(molecules)) < settings.duplicates, rng.geometric(0.6, len(molecules)), 0)
    copied = np.repeat(np.arange(len(molecules)), 1 + extra)
    reads, capped = molecules.take(copied), capped[copied]
    names = np.arange(first_read, first_read + len(reads))
    group_tag = np.frombuffer(b"RGZ" + library.encode() + b"\0", np.uint8)[None]
    positions: list[Ints] = []
    rows: list[NDArray[np.uint8]] = []
    for side, (codes, origin) in enumerate(haplotypes):
        mine = np.flatnonzero(reads.haplotype == side)
        some = reads.take(mine)
        start, clipped, bases = _sequence(some, capped[mine], codes, origin, settings, rng)
        for group in _alignments(start, clipped, some, origin):
            members = some.take(group.rows)
            position = group.position + members.place - members.five
            length = int(members.length[0])
            positions.append(position)
            rows.append(
                _encode(
                    members,
                    names[mine[group.rows]],
                    bases[group.rows, :length],
                    replace(group, position=position),
                    reference_id,
                    [*([_haplotype_tag(members)] if settings.haplotype_tags else []), group_tag],
                )
            )
    return _sorted_bytes(positions, rows), len(reads)


def _haplotype_tag(reads: Molecules) -> NDArray[np.uint8]:
    """Tag ``XH`` (one byte: haplotype 1 or 2) of each read."""
    tags = np.tile(np.frombuffer(b"XHC\0", np.uint8), (len(reads), 1))
    tags[:, 3] = reads.haplotype + 1
    return tags


def _sequence(
    reads: Molecules,
    capped: NDArray[np.bool_],
    codes: Codes,
    origin: Ints,
    settings: Settings,
    rng: np.random.Generator,
) -> tuple[Ints, NDArray[np.bool_], Codes]:
    """First aligned base on the haplotype, whether the cap's G is clipped, and the bases in forward direction.

    Bases ``[n, read length]``: those beyond the length of a shorter read are not part of it.
    """
    five = np.searchsorted(np.maximum.accumulate(origin), reads.five)
    plus = reads.strand == 0
    clipped = capped & np.where(plus, codes[five - 1] != G, codes[five + 1] != C)
    start = np.where(plus, five, five - (reads.length - clipped) + 1)
    bases = codes[start[:, None] + np.arange(settings.read_length) - (clipped & plus)[:, None]]
    wrong = rng.random(bases.shape) < settings.error_rate
    bases[wrong] = (bases[wrong] + rng.integers(1, 4, int(wrong.sum()))) % 4
    bases[clipped & plus, 0] = G
    minus = np.flatnonzero(clipped & ~plus)
    bases[minus, reads.length[minus] - 1] = C
    return start, clipped, bases


@dataclass(frozen=True)
class Alignments:
    """Reads of one length with equally long CIGARs."""

    rows: Ints  # which reads
    position: Ints
    cigars: NDArray[np.uint32]  # [n, operations]
    span: Ints  # on the reference


def _alignments(start: Ints, clipped: NDArray[np.bool_], reads: Molecules, origin: Ints) -> list[Alignments]:
    """Groups of reads whose BAM records are equally long."""
    strand, length = reads.strand, reads.length
    aligned = length - clipped.astype(np.int64)
    breaks = np.concatenate([[0], np.cumsum(np.diff(origin) != 1)])
    regular = (breaks[start + aligned - 1] == breaks[start]) & (origin[start] >= 0)
    groups = []
    for size in np.unique(length):
        for clip in (False, True):
            rows = np.flatnonzero(regular & (clipped == clip) & (length == size))
            if not len(rows):
                continue
            cigars = np.full((len(rows), 1 + clip), (size - clip) << 4 | MATCH, np.uint32)
            if clip:
                cigars[np.arange(len(rows)), strand[rows]] = 1 << 4 | CLIP
            groups.append(Alignments(rows, origin[start[rows]], cigars, aligned[rows]))
    odd: dict[tuple[int, int], list[tuple[int, int, list[int], int]]] = {}
    for row in np.flatnonzero(~regular):
        position, cigar, span = _cigar(origin[start[row] : start[row] + aligned[row]])
        if clipped[row]:
            cigar.insert(0 if strand[row] == 0 else len(cigar), (1, CLIP))
            cigar = _merged(cigar)
        encoded = [bases << 4 | operation for bases, operation in cigar]
        odd.setdefault((len(encoded), int(length[row])), []).append((int(row), position, encoded, span))
    for members in odd.values():
        columns = list(zip(*members, strict=True))
        row_of, position_of, span_of = (np.array(columns[k], np.int64) for k in (0, 1, 3))
        groups.append(Alignments(row_of, position_of, np.array(columns[2], np.uint32), span_of))
    return groups


def _cigar(origin: Ints) -> tuple[int, list[tuple[int, int]], int]:
    """Position, operations and reference span of bases with reference positions ``origin`` (-1 = inserted).

    Inserted bases at either end cannot be anchored and are soft-clipped, as an aligner does.
    """
    matched = np.flatnonzero(origin >= 0)
    first, last = int(matched[0]), int(matched[-1])
    operations = [(first, CLIP)] if first else []
    expected = int(origin[first])
    for at in origin[first : last + 1]:
        if at < 0:
            operations.append((1, INSERTION))
            continue
        if at > expected:
            operations.append((int(at) - expected, DELETION))
        operations.append((1, MATCH))
        expected = int(at) + 1
    if last + 1 < len(origin):
        operations.append((len(origin) - last - 1, CLIP))
    return int(origin[first]), _merged(operations), expected - int(origin[first])


def _merged(operations: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for length, operation in operations:
        if merged and merged[-1][1] == operation:
            length += merged.pop()[0]
        merged.append((length, operation))
    return merged


def _bin(start: Ints, end: Ints) -> Ints:
    """UCSC bins of alignments (SAM specification, section 5.3)."""
    last = end - 1
    result = np.zeros(len(start), np.int64)
    for shift, offset in ((26, 1), (23, 9), (20, 73), (17, 585), (14, 4681)):
        result = np.where(start >> shift == last >> shift, offset + (start >> shift), result)
    return result


def _encode(
    reads: Molecules,
    number: Ints,
    bases: Codes,
    aligned: Alignments,
    reference_id: int,
    tags: list[NDArray[np.uint8]],
) -> NDArray[np.uint8]:
    """BAM records of equal size, one a row, with ``tags`` (``[n or 1, bytes]``) after the UMI's."""
    n, length = bases.shape
    umi = _LETTER[(reads.umi[:, None] >> (2 * np.arange(UMI_LENGTH))) & 3]
    digits = (number[:, None] // 10 ** np.arange(NAME_DIGITS - 1, -1, -1) % 10 + ord("0")).astype(np.uint8)
    zero = np.zeros((n, 1), np.uint8)
    name = np.hstack([np.full((n, 1), ord("r"), np.uint8), digits, np.full((n, 1), ord("_"), np.uint8), umi, zero])
    nibble = np.hstack([_NIBBLE[bases], zero[:, : length % 2]])
    variable = [
        name,
        np.ascontiguousarray(aligned.cigars).view(np.uint8).reshape(n, 4 * aligned.cigars.shape[1]),
        (nibble[:, 0::2] << 4) | nibble[:, 1::2],
        np.full((n, length), QUALITY, np.uint8),
        np.tile(np.frombuffer(b"RXZ", np.uint8), (n, 1)),
        umi,
        zero,
        *(np.broadcast_to(tag, (n, tag.shape[1])) for tag in tags),
    ]
    fixed = np.zeros(
        n,
        np.dtype("<i4,<i4,<i4,u1,u1,<u2,<u2,<u2,<i4,<i4,<i4,<i4"),
    )
    fixed["f0"] = 32 + sum(part.shape[1] for part in variable)
    fixed["f1"] = reference_id
    fixed["f2"] = aligned.position
    fixed["f3"] = name.shape[1]
    fixed["f4"] = reads.mapq
    fixed["f5"] = _bin(aligned.position, aligned.position + aligned.span)
    fixed["f6"] = aligned.cigars.shape[1]
    fixed["f7"] = np.where(reads.strand == 1, REVERSE, 0)
    fixed["f8"] = length
    fixed["f9"] = fixed["f10"] = -1
    return np.hstack([fixed.view(np.uint8).reshape(n, 36), *variable])


def _sorted_bytes(positions: list[Ints], rows: list[NDArray[np.uint8]]) -> bytes:
    """All records in order of position, joined."""
    size = np.concatenate([np.full(len(group), group.shape[1]) for group in rows])
    padded = np.zeros((len(size), max(group.shape[1] for group in rows)), np.uint8)
    begin = 0
    for group in rows:
        padded[begin : begin + len(group), : group.shape[1]] = group
        begin += len(group)
    order = np.argsort(np.concatenate(positions), kind="stable")
    return padded[order][np.arange(padded.shape[1]) < size[order, None]].tobytes()
