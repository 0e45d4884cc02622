"""VCF and BCF: record lines of a region by the index, sites of a whole file, clear errors for both.

Calls of samples are read by :mod:`allelegro.io.genotypes`; sites, which need no calls, by cyvcf2.
"""

import gzip
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pysam

from allelegro.errors import DataError
from allelegro.io import bgzf
from allelegro.io.bam_index import bins

BGZF_BLOCK = 65_536  # bytes of a block at most, compressed or not


class IndexedVcf:
    """A bgzip-compressed VCF or a BCF with its ``.tbi`` or ``.csi`` index.

    ``samples`` are in the file's order; ``contigs`` those with records, ``lengths`` (bp) what the header says of them
    (0: nothing); ``formats`` the declared FORMAT keys. Raises DataError when the file or its index is missing, empty,
    truncated, not bgzip-compressed, or when the file has changed since it was indexed.
    """

    def __init__(self, path: Path) -> None:
        check_bgzf(path)
        indices = [Path(f"{path}.{suffix}") for suffix in ("tbi", "csi") if Path(f"{path}.{suffix}").is_file()]
        if not indices:
            raise DataError(
                f"{path}: no index (.tbi or .csi); sort and index it: bcftools sort, then bcftools index -t"
            )
        check_index(path, indices[0])
        self.path = path
        quiet = pysam.set_verbosity(0)
        try:
            with gzip.open(path) as handle:
                self.is_bcf = handle.read(3) == b"BCF"
            self._file: Any
            if self.is_bcf:
                self._file = pysam.VariantFile(str(path), index_filename=str(indices[0]))
                header = str(self._file.header).splitlines()
            else:
                self._file = pysam.TabixFile(str(path), index=str(indices[0]), encoding="utf-8")
                header = list(self._file.header)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not a readable VCF or BCF with its index ({error}); index it again") from None
        finally:
            pysam.set_verbosity(quiet)
        if not header or not header[-1].startswith("#CHROM\t"):
            raise DataError(f"{path}: no #CHROM line at the end of the header; give a VCF or BCF")
        if header[-1].endswith("\r"):
            raise DataError(
                f"{path}: lines end in CR LF; take the CR away (bgzip -dc | tr -d '\\r' | bgzip) and index it again"
            )
        self.samples: list[str] = [sample for sample in header[-1].split("\t")[9:] if sample]
        if twice := first_repeated(self.samples):
            raise DataError(f"{path}: sample {twice} occurs twice in the header; rename one with bcftools reheader")
        self.formats = {found[1] for line in header if (found := re.match(r"##FORMAT=<ID=([^,>]+)", line))}
        self.contigs: list[str] = self._contigs_with_records() if self.is_bcf else list(self._file.contigs)
        self._known = set(self.contigs)
        lengths = {
            found[1]: int(found[2])
            for line in header
            if (found := re.match(r"##contig=<ID=([^,>]+).*?\blength=(\d+)", line))
        }
        self.lengths = {name: lengths.get(name, 0) for name in self.contigs}

    def _contigs_with_records(self) -> list[str]:
        return [str(name) for name in self._file.header.contigs if next(self._file.fetch(str(name)), None) is not None]

    def lines(self, chrom: str, start: int, end: int) -> Iterator[str]:
        """VCF lines without line end of records that overlap ``[start, end)`` (0-based), in the file's order."""
        if chrom not in self._known:
            return
        try:
            found = self._file.fetch(chrom, start, end)
            if self.is_bcf:
                found = (str(record)[:-1] for record in found)
            yield from found
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.path}: {chrom}:{start + 1}-{end} cannot be read ({error}); index it again"
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Site(NamedTuple):
    """What a record says of a place, as its file has it: ``pos`` is 1-based, ``alts`` is empty for ``.``."""

    chrom: str
    pos: int
    ref: str
    alts: list[str]
    id: str


def read_sites(path: Path) -> Iterator[Site]:
    """Every record of a VCF (plain or compressed) or BCF, without its samples; no index is needed.

    Raises DataError, with the last record that could be read, where the file is damaged or truncated.
    """
    for record in _records(path):
        yield Site(record.CHROM, record.POS, record.REF, record.ALT, record.ID or ".")


def read_frequencies(path: Path) -> Iterator[list[float]]:
    """INFO/AF of each alternative allele of every record, as :func:`read_sites` reads it; NaN where it is not given."""
    for record in _records(path):
        given = record.INFO.get("AF")
        values = list(given) if isinstance(given, tuple) else [given]
        alleles = max(len(record.ALT), 1)
        same = len(values) == alleles
        yield [
            float(value) if same and isinstance(value, float) else float("nan")
            for value in (values if same else [0] * alleles)
        ]


def _records(path: Path) -> Iterator[Any]:
    import cyvcf2

    with path.open("rb") as handle:
        if handle.read(4) == bgzf.MAGIC:
            check_bgzf(path)
    cyvcf2.cyvcf2.set_htslib_log_level(0)
    last = "its header"
    try:
        for record in cyvcf2.VCF(str(path), samples=[]):
            last = f"{record.CHROM}:{record.POS}"
            yield record
    except GeneratorExit:
        raise
    except Exception as error:  # cyvcf2 raises no narrower kind
        raise DataError(
            f"{path}: not a whole VCF or BCF: what follows {last} cannot be read ({error}); "
            "copy it again or check it with bcftools view"
        ) from None


def check_index(path: Path, index: Path) -> None:
    """Raise DataError unless the index ends where the records of the file end; time stamps say nothing.

    An index that is older than its file would hide records without a word.
    """
    again = f"index it again: bcftools index -f {'-t' if index.suffix == '.tbi' else '-c'} {path}"
    try:
        end = _end_of_index(gzip.decompress(index.read_bytes()))
    except (OSError, EOFError, zlib.error, struct.error, ValueError):
        raise DataError(f"{index}: not a readable index; {again}") from None
    if end and not _ends_at(path, end):
        raise DataError(f"{index}: stale index, {path.name} has changed since it was made; {again}")


def _end_of_index(data: bytes) -> int:
    """The largest virtual offset of a tabix or CSI index: where its last record ends (0: no records)."""
    if data[:4] == b"TBI\1":
        (n_refs, names), at, is_csi, summary_bin = struct.unpack_from("<i24xi", data, 4), 36, False, 37_450
        at += names
    elif data[:4] == b"CSI\1":
        depth, extra = struct.unpack_from("<4xii", data, 4)
        at, is_csi, summary_bin = 20 + extra, True, ((1 << 3 * (depth + 1)) - 1) // 7 + 1
        (n_refs,) = struct.unpack_from("<i", data, 16 + extra)
    else:
        raise ValueError("no index")
    ends = (
        int.from_bytes(chunks[-8:], "little")
        for _, number, chunks in bins(data, at, n_refs, is_csi)
        if number != summary_bin and chunks
    )
    return max(ends, default=0)


def _ends_at(path: Path, end: int) -> bool:
    """Whether nothing follows a virtual offset of a bgzip file."""
    with path.open("rb") as handle:
        handle.seek(end >> 16)
        data = handle.read(2 * BGZF_BLOCK)
    skip, ends = end & 0xFFFF, bool(data)
    while data:
        block = zlib.decompressobj(wbits=31)
        try:
            if len(block.decompress(data)) != skip:
                return False
        except zlib.error:
            return False
        data, skip = block.unused_data, 0
    return ends and skip == 0


def check_bgzf(path: Path) -> None:
    """Raise DataError unless ``path`` is a whole bgzip stream (VCF.gz, BCF, BAM): not empty, not plain, not truncated."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; expected a bgzip-compressed VCF or a BCF")
    with path.open("rb") as handle:
        magic = handle.read(4)
        if magic != bgzf.MAGIC:
            raise DataError(
                f"{path}: not a readable VCF or BCF: not bgzip-compressed; compress it with bgzip, then index it with bcftools index -t"
            )
    if not bgzf.ends_whole(path):
        raise DataError(f"{path}: the end-of-file block is missing; the file is truncated, copy or make it again")


def select_samples(wanted: Sequence[str] | None, present: Sequence[str], path: Path) -> list[str]:
    """The donors to use, in the order asked for; raises DataError for unknown donors and donors named twice."""
    if not present:
        raise DataError(f"{path}: the VCF has no samples; give a file with genotypes")
    if wanted is None:
        return list(present)
    if twice := first_repeated(wanted):
        raise DataError(f"donor {twice} is named twice; name each donor once")
    known = set(present)
    unknown = [donor for donor in wanted if donor not in known]
    if unknown:
        raise DataError(
            f"{path}: donor {unknown[0]} is not among its {len(present)} samples "
            f"({len(unknown)} of {len(wanted)} donors are absent); its first samples are {', '.join(present[:3])}"
        )
    return list(wanted)


def first_repeated(names: Sequence[str]) -> str | None:
    """The first name that has occurred before, or None."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
