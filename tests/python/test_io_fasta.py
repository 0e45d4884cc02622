"""Genomes as they come: plain, bgzip under any name, behind links, with and without an index."""

import gzip
from pathlib import Path

import pysam
import pytest

from allelegro.errors import DataError
from allelegro.inputs.references import fasta_contigs
from allelegro.io.dna import decode
from allelegro.io.fasta import Fasta
from helpers.slow_haplotypes import wrap

GENOME = "ACGTTGCAAGCTTACGGATCCATGACCTGATTTCAGGCTA" * 5
TEXT = f">chr1 the first\n{wrap(GENOME)}>chr2\n{wrap(GENOME[:90])}"


def write(path: Path, text: str = TEXT, *, bgzip: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if bgzip:
        with pysam.BGZFile(str(path), "w") as handle:  # type: ignore[call-arg]
            handle.write(text.encode())
    else:
        path.write_text(text)
    return path


def assert_read(path: Path) -> None:
    with Fasta(path) as genome:
        assert genome.lengths == {"chr1": 200, "chr2": 90} == fasta_contigs(path)
        assert decode(genome.codes("chr1", 0, 200)) == GENOME
        assert decode(genome.codes("chr2", 59, 90)) == GENOME[59:90]
        assert genome.codes("chr2", 5, 5).size == 0


@pytest.mark.parametrize("bgzip", [False, True])
@pytest.mark.parametrize("name", ["genome.fa", "genome.fa.gz", "my genome.FASTA.GZ", "genome.zip", "genome"])
def test_compression_is_told_by_content(tmp_path: Path, name: str, bgzip: bool) -> None:
    assert_read(write(tmp_path / name, bgzip=bgzip))
    assert_read(tmp_path / name)  # by the index that the first reader made


@pytest.mark.parametrize("bgzip", [False, True])
def test_the_index_alongside_a_links_target_is_used(tmp_path: Path, bgzip: bool) -> None:
    target = write(tmp_path / "ref" / "genome.fa", bgzip=bgzip)
    pysam.faidx(str(target))
    for folder, to in (("link", "../ref/genome.fa"), ("task", tmp_path / "link" / "genome.fa")):
        (tmp_path / folder).mkdir()
        link = tmp_path / folder / "genome.fa"
        link.symlink_to(to)
        assert_read(link)
        assert [path.name for path in link.parent.iterdir()] == ["genome.fa"], "no second index"


def test_without_an_index_anywhere_it_is_made_alongside_the_link(tmp_path: Path) -> None:
    write(tmp_path / "ref" / "genome.fa")
    (tmp_path / "link").mkdir()
    link = tmp_path / "link" / "genome.fa"
    link.symlink_to("../ref/genome.fa")
    assert_read(link)
    assert sorted(path.name for path in link.parent.iterdir()) == ["genome.fa", "genome.fa.fai"]


def test_iupac_letters_are_the_first_base_by_alphabet_as_in_a_vcf(tmp_path: Path) -> None:
    with Fasta(write(tmp_path / "genome.fa", ">c\nACGTNRYSWKMBDHVryn\n")) as genome:
        assert decode(genome.codes("c", 0, 18)) == "ACGTNACCAGACAAAACN"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(TEXT.encode(), mtime=0), r"compressed by gzip, which has no random access; .*bgzip > NEW.fa.gz"),
        (b"", "the file is empty"),
        (b"hello\n", "cannot be indexed as FASTA"),
        (b">a\nACGT\n>a\nACGT\n", "one name occurs twice"),
        (b">a\nACGT\n>a\nACGT\n>b\nACGT\n", "before contig b .* one name occurs twice"),
        (b">a\nACGTACGT\nACG\nACGTACGT\n", "cannot be indexed as FASTA"),
    ],
)
def test_what_is_no_genome_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "genome.fa"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        Fasta(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob(".partial*"))


def test_damaged_blocks_and_letters(tmp_path: Path) -> None:
    path = write(tmp_path / "genome.fa.gz", f">chr1\n{wrap(GENOME * 2000)}", bgzip=True)
    pysam.faidx(str(path))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with (
        pytest.raises(DataError, match=r"cannot be read; the file is truncated or damaged|stale index"),
        Fasta(path) as genome,
    ):
        genome.codes("chr1", 0, 400_000)


@pytest.mark.parametrize("bgzip", [False, True])
def test_stale_fasta_index(tmp_path: Path, bgzip: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found from the content, whatever the time stamps; a longer, shorter, renamed or rewrapped genome."""
    path = tmp_path / ("genome.fa.gz" if bgzip else "genome.fa")

    def write(text: str) -> None:
        if bgzip:
            with pysam.BGZFile(str(path), "w") as handle:  # type: ignore[call-arg]
                handle.write(text.encode())
        else:
            path.write_text(text)

    write(f">chr1 the first\n{wrap(GENOME)}>chr2\n{wrap(GENOME[:90])}")
    pysam.faidx(str(path))
    with Fasta(path) as genome:
        assert genome.lengths == {"chr1": 200, "chr2": 90}
        assert genome.codes("chr2", 2, 5).tolist() == [2, 3, 3]
        with pytest.raises(DataError, match=r"chr2:81-95 leaves the contig, which has 90 bp"):
            genome.codes("chr2", 80, 95)
    for changed in (
        f">chr1 the first\n{wrap(GENOME)}>chr2\n{wrap(GENOME[:91])}",
        f">chr1 the first\n{wrap(GENOME)}>chr2\n{wrap(GENOME[:80])}",
        f">chr1 the first\n{wrap(GENOME)}>chrX\n{wrap(GENOME[:90])}",
        f">chr1 the first\n{wrap(GENOME, 50)}>chr2\n{wrap(GENOME[:90], 50)}",
        f">chr1 the first\n{wrap(GENOME[:-1])}>chr2\n{wrap(GENOME[:90])}",
    ):
        write(changed)
        with pytest.raises(DataError, match=r"stale index"):
            Fasta(path)
    path.with_name(path.name + ".fai").unlink()
    with Fasta(path) as genome:  # made again
        assert genome.lengths == {"chr1": 199, "chr2": 90}
    path.with_name(path.name + ".fai").unlink()
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(DataError, match=r"\.fai: no such file; make it with: samtools faidx"):
        Fasta(path)


def test_large_bgzip_fasta_with_many_blocks(tmp_path: Path) -> None:
    path = tmp_path / "genome.fa.gz"
    with pysam.BGZFile(str(path), "w") as handle:  # type: ignore[call-arg]
        handle.write(f">chr1\n{wrap(GENOME * 2000)}>chr2\n{wrap(GENOME * 900)}".encode())
    pysam.faidx(str(path))
    with Fasta(path) as genome:
        assert genome.lengths == {"chr1": 400_000, "chr2": 180_000}
