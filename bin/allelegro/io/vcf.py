"""Indexed VCF and BCF: opening with clear errors, samples, contigs and record lines of a region."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pysam

from allelegro.errors import DataError

BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


class IndexedVcf:
    """A bgzip-compressed VCF or a BCF with its ``.tbi`` or ``.csi`` index.

    ``samples`` are in the file's order; ``contigs`` are those of the header and of the index.
    Raises DataError when the file or its index is missing, empty, truncated or not bgzip-compressed.
    """

    def __init__(self, path: Path) -> None:
        check_bgzf(path)
        indices = [Path(f"{path}.{suffix}") for suffix in ("tbi", "csi") if Path(f"{path}.{suffix}").is_file()]
        if not indices:
            raise DataError(
                f"{path}: no index (.tbi or .csi); sort and index it: bcftools sort, then bcftools index -t"
            )
        quiet = pysam.set_verbosity(0)
        try:
            self._records = pysam.VariantFile(str(path), index_filename=str(indices[0]))
            self.is_bcf = self._records.format == "BCF"
            self._lines = None if self.is_bcf else pysam.TabixFile(str(path), index=str(indices[0]))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not a readable VCF or BCF with its index ({error}); index it again") from None
        finally:
            pysam.set_verbosity(quiet)
        self.path = path
        self.samples: list[str] = list(self._records.header.samples)
        header = list(self._records.header.contigs)
        self.indexed: set[str] = set(header if self._lines is None else self._lines.contigs)
        self.contigs: list[str] = list(dict.fromkeys([*header, *sorted(self.indexed)]))
        self.formats: set[str] = set(self._records.header.formats)

    def lines(self, chrom: str, start: int, end: int) -> Iterator[str]:
        """VCF lines without line end of records that overlap ``[start, end)`` (0-based), in the file's order."""
        if chrom not in self.indexed:
            return iter(())
        try:
            if self._lines is not None:
                return self._lines.fetch(chrom, start, end)
            return (str(record)[:-1] for record in self._records.fetch(chrom, start, end))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.path}: {chrom}:{start + 1}-{end} cannot be read ({error}); index it again"
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._records.close()
        if self._lines is not None:
            self._lines.close()


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
    for n, donor in enumerate(wanted):
        if donor in wanted[:n]:
            raise DataError(f"donor {donor} is named twice; name each donor once")
    unknown = [donor for donor in wanted if donor not in set(present)]
    if unknown:
        raise DataError(
            f"{path}: donor {unknown[0]} is not among its {len(present)} samples "
            f"({len(unknown)} of {len(wanted)} donors are absent); its first samples are {', '.join(present[:3])}"
        )
    return list(wanted)
