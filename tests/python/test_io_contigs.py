"""Chromosome names of two inputs: joined where a table meets the genome, refused with one message elsewhere."""

import pytest

from allelegro.errors import DataError
from allelegro.io.contigs import check_contigs, check_shared, contig_hint, match_contigs


@pytest.mark.parametrize(
    ("names", "present", "expected"),
    [
        (["1", "X"], ["chr1", "chrX"], {"1": "chr1", "X": "chrX"}),
        (["chr1"], ["1"], {"chr1": "1"}),
        (["MT", "M", "chrM"], ["chrM"], {"MT": "chrM", "M": "chrM", "chrM": "chrM"}),
        (["chrM"], ["MT"], {"chrM": "MT"}),
        (["MT", "chrM"], ["chrM", "chrMT"], {"MT": "chrM", "chrM": "chrM"}),
        (["chrMT"], ["chrM", "chrMT"], {"chrMT": "chrMT"}),
        (["chr1", "7"], ["chr1"], {"chr1": "chr1", "7": None}),
        (["chr1_random"], ["chr1"], {"chr1_random": None}),
        (["1.0", "Chr2", "GL1.0"], ["chr1", "chr2", "GL1"], {"1.0": "chr1", "Chr2": "chr2", "GL1.0": None}),
    ],
)
def test_match(names: list[str], present: list[str], expected: dict[str, str | None]) -> None:
    assert match_contigs(names, present) == expected


def test_refusals_say_how_names_differ() -> None:
    with pytest.raises(
        DataError, match=r"t.bed: contig 1 is not in g.fa; names differ by the prefix chr \(here 1, there chr1\)"
    ):
        check_contigs(["1", "2"], "t.bed", ["chr1", "chr2"], "g.fa")
    with pytest.raises(DataError, match=r"contig 7 is not in g.fa; it has chr1, chr2"):
        check_contigs(["chr1", "7"], "t.bed", ["chr1", "chr2"], "g.fa")
    check_contigs([], "t.bed", [], "g.fa")
    with pytest.raises(DataError, match=r"no contig in common with g.fa .*names differ by the prefix chr"):
        check_shared(["1"], "t.bed", ["chr1"], "g.fa")
    check_shared(["1", "chr1"], "t.bed", ["chr1"], "g.fa")
    check_shared([], "t.bed", ["chr1"], "g.fa")
    assert contig_hint(["x"], ["a", "b", "c", "d"]) == "it has a, b, c and 1 more"
