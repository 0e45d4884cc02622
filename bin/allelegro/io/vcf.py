"""Indexed VCF and BCF: opening with clear errors, samples, contigs and record lines of a region."""

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pysam

from allelegro.errors import DataError

BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


class IndexedVcf:
    """A bgzip-compressed VCF or a BCF with its ``.tbi`` or ``.csi`` index.

    ``samples`` are in the file's order; ``contigs`` are those with records; ``formats`` the declared FORMAT
    keys. Raises DataError when the file or its index is missing, empty, truncated or not bgzip-compressed.
    """

    def __init__(self, path: Path) -> None:
        check_bgzf(path)
        indices = [Path(f"{path}.{suffix}") for suffix in ("tbi", "csi") if Path(f"{path}.{suffix}").is_file()]
        if not indices:
            raise DataError(
                f"{path}: no index (.tbi or .csi); sort and index it: bcftools sort, then bcftools index -t"
            )
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
                self._file = pysam.TabixFile(str(path), index=str(indices[0]))
                header = list(self._file.header)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not a readable VCF or BCF with its index ({error}); index it again") from None
        finally:
            pysam.set_verbosity(quiet)
        if not header or not header[-1].startswith("#CHROM\t"):
            raise DataError(f"{path}: no #CHROM line at the end of the header; give a VCF or BCF")
        self.samples: list[str] = [sample for sample in header[-1].split("\t")[9:] if sample]
        if twice := first_repeated(self.samples):
            raise DataError(f"{path}: sample {twice} occurs twice in the header; rename one with bcftools reheader")
        self.contigs: list[str] = self._contigs_with_records() if self.is_bcf else list(self._file.contigs)
        self.formats = {line.split("ID=", 1)[1].split(",")[0] for line in header if line.startswith("##FORMAT=")}

    def _contigs_with_records(self) -> list[str]:
        return [str(name) for name in self._file.header.contigs if next(self._file.fetch(str(name)), None) is not None]

    def lines(self, chrom: str, start: int, end: int) -> Iterator[str]:
        """VCF lines without line end of records that overlap ``[start, end)`` (0-based), in the file's order."""
        if chrom not in self.contigs:
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


def check_bgzf(path: Path) -> None:
    """Raise DataError unless ``path`` is a whole bgzip stream (VCF.gz, BCF, BAM): not empty, not plain, not truncated."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{path}: the file is empty; expected a bgzip-compressed VCF or a BCF")
    with path.open("rb") as handle:
        magic = handle.read(4)
        if magic != BGZF_END[:4]:
            raise DataError(
                f"{path}: not bgzip-compressed; compress it with bgzip, then index it with bcftools index -t"
            )
        handle.seek(max(0, size - len(BGZF_END)))
        if handle.read() != BGZF_END:
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
