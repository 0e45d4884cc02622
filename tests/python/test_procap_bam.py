"""FASTQ to BAM with the real tools where they are on PATH; what is said where they are not."""

import gzip
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pysam
import pytest

from allelegro.errors import DataError
from allelegro.procap.align import RA3, AlignmentPlan, align_reads

TOOLS = ("cutadapt", "bowtie2", "samtools", "umi_tools")
needs_tools = pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}")


def genome(path: Path, seed: int, size: int) -> str:
    """A random genome as FASTA."""
    bases = "".join(random.Random(seed).choices("ACGT", k=size))
    path.write_text(f">c{seed}\n{bases}\n")
    return bases


def reverse_complement(bases: str) -> str:
    return bases[::-1].translate(str.maketrans("ACGT", "TGCA"))


def write_fastq(path: Path, sequences: list[str]) -> None:
    path.write_text("".join(f"@q{n}\n{bases}\n+\n{'I' * len(bases)}\n" for n, bases in enumerate(sequences)))


@needs_tools
def test_every_step_counts_what_was_planted(tmp_path: Path) -> None:
    """Planted: 40 molecules read twice, 30 of rRNA, 20 adaptor dimers, 10 from nowhere; a cap G on the plus strand."""
    bases, rrna = genome(tmp_path / "genome.fa", 1, 20_000), genome(tmp_path / "rrna.fa", 2, 2_000)
    rng, reads, truth = random.Random(3), [], []
    umi = lambda: "".join(rng.choices("ACGT", k=6))  # noqa: E731
    for n in range(40):
        start = 100 + 400 * n
        if n % 2:
            while bases[start - 1] == "G":
                start += 1
            rna, place = "G" + bases[start : start + 30], (start, False)
        else:
            rna, place = reverse_complement(bases[start : start + 30]), (start + 29, True)
        truth.append(place)
        reads += 2 * [umi() + rna + RA3]
    reads += [umi() + rrna[s : s + 35] + RA3 for s in range(0, 1500, 50)]
    reads += 20 * [umi() + RA3 + "AAAAAAAAAAAA"]
    reads += [umi() + "".join(rng.choices("ACGT", k=35)) for _ in range(10)]
    write_fastq(tmp_path / "one.fq", reads[:70])
    write_fastq(tmp_path / "two.fq", reads[70:])
    plan = AlignmentPlan(tmp_path / "genome.fa", unwanted=tmp_path / "rrna.fa", umi="NNNNNN")
    runs: list[tuple[Path, Path | None]] = [(tmp_path / "one.fq", None), (tmp_path / "two.fq", None)]
    document = align_reads("L", runs, tmp_path / "out" / "L.bam", plan)
    assert [(step["step"], step["reads"]) for step in document["steps"]] == [
        ("in the FASTQ", 140),
        ("with a UMI", 140),
        ("at least 18 bases after trimming", 120),
        ("not rRNA or spike-in", 90),
        ("aligned", 80),
        ("distinct molecules (position and UMI)", 40),
    ]
    assert document["dropped"] == {
        "no UMI": 0, "short after trimming": 20, "rRNA or spike-in": 30, "unmapped": 10, "duplicate UMI": 40
    }  # fmt: skip
    assert (document["complexity"]["reads"], document["complexity"]["distinct"]) == (80, 40)
    assert json.loads((tmp_path / "out" / "L.counts.json").read_text()) == document
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["L.bam", "L.bam.bai", "L.counts.json"]
    with pysam.AlignmentFile(str(tmp_path / "out" / "L.bam")) as file:
        ends = sorted(((r.reference_end or 0) - 1 if r.is_reverse else r.reference_start, r.is_reverse) for r in file)
    assert ends == sorted(truth)
    tool = Path(__file__).parents[2] / "bin" / "procap_coverage.py"
    subprocess.run(
        [sys.executable, tool, "--reads", tmp_path / "out" / "L.bam", "--out-prefix", tmp_path / "L", "--umi", "RX",
         "--alignment-report", tmp_path / "out" / "L.counts.json"], check=True, capture_output=True
    )  # fmt: skip
    qc = json.loads((tmp_path / "L.qc.json").read_text())
    assert qc["steps"][: len(document["steps"])] == document["steps"]
    assert qc["strands"] == {"plus": 20, "minus": 20} and qc["complexity"]["duplication"] == 0.5


@needs_tools
def test_pairs_count_once(tmp_path: Path) -> None:
    bases = genome(tmp_path / "genome.fa", 1, 20_000)
    starts = range(100, 8_100, 200)
    write_fastq(tmp_path / "r1.fq", ["ACGTAC" + bases[s : s + 40] for s in starts])
    write_fastq(tmp_path / "r2.fq", [reverse_complement(bases[s + 80 : s + 120]) for s in starts])
    run: list[tuple[Path, Path | None]] = [(tmp_path / "r1.fq", tmp_path / "r2.fq")]
    document = align_reads("L", run, tmp_path / "L.bam", AlignmentPlan(tmp_path / "genome.fa", umi="NNNNNN"))
    assert document["unit"] == "read pairs"
    assert {step["reads"] for step in document["steps"]} == {40}


@needs_tools
def test_a_step_that_leaves_nothing_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    genome(tmp_path / "genome.fa", 1, 5_000)
    write_fastq(tmp_path / "a.fq", ["ACGT" + RA3] * 5)
    with pytest.raises(DataError, match="no read of 5 is left after the step 'at least 18 bases after trimming'"):
        align_reads("L", [(tmp_path / "a.fq", None)], tmp_path / "o" / "L.bam", AlignmentPlan(tmp_path / "genome.fa"))
    (tmp_path / "bad.fq").write_text("@a\nACGT\n")
    with pytest.raises(DataError, match="cutadapt failed: "):
        align_reads("L", [(tmp_path / "bad.fq", None)], tmp_path / "o" / "L.bam", AlignmentPlan(tmp_path / "genome.fa"))
    with pytest.raises(DataError, match=r"none.fa: neither a FASTA nor the prefix of a bowtie2 index"):
        write_fastq(tmp_path / "b.fq", ["ACGT" * 10] * 5)
        align_reads("L", [(tmp_path / "b.fq", None)], tmp_path / "o" / "L.bam", AlignmentPlan(tmp_path / "none.fa"))
    assert not list((tmp_path / "o").iterdir())


def test_missing_tools_are_all_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        DataError, match="not on PATH: cutadapt, bowtie2, samtools, umi_tools; install them, use the container"
    ):
        align_reads("L", [(tmp_path / "a.fq", None)], tmp_path / "L.bam", AlignmentPlan(tmp_path / "g.fa", umi="NNNN"))


def test_missing_and_empty_fastq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allelegro.procap.align._find_tools", lambda plan: {})
    with pytest.raises(DataError, match=r"a.fq: no such file"):
        align_reads("L", [(tmp_path / "a.fq", None)], tmp_path / "L.bam", AlignmentPlan(tmp_path / "g.fa"))
    (tmp_path / "a.fq").touch()
    with pytest.raises(DataError, match=r"a.fq: the file is empty"):
        align_reads("L", [(tmp_path / "a.fq", None)], tmp_path / "L.bam", AlignmentPlan(tmp_path / "g.fa"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"@a\nACGT\n+\nIII\n", "does not begin with a FASTQ record"),
        (b">a\nACGT\n", "does not begin with a FASTQ record"),
        (gzip.compress(b"@a\nACGT\n+\nIIII\n" * 999, mtime=0)[:40], "the gzip stream (is damaged|ends early)"),
        (b"PK\x03\x04", "compressed as zip|does not begin"),
    ],
)
def test_files_that_are_no_fastq_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, message: str
) -> None:
    monkeypatch.setattr("allelegro.procap.align._find_tools", lambda plan: {})
    (tmp_path / "a.fq").write_bytes(data)
    with pytest.raises(DataError, match=rf"a.fq: .*({message})"):
        align_reads("L", [(tmp_path / "a.fq", None)], tmp_path / "L.bam", AlignmentPlan(tmp_path / "g.fa"))


def test_one_fastq_given_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allelegro.procap.align._find_tools", lambda plan: {})
    for name in ("a.fq", "b.fq"):
        (tmp_path / name).write_bytes(b"@a\r\nACGT\r\n+\r\nIIII\r\n")
    runs: list[tuple[Path, Path | None]] = [(tmp_path / "a.fq", None), (tmp_path / "b.fq", None)]
    with pytest.raises(DataError, match=r"b.fq: the same data as .*a.fq"):
        align_reads("L", runs, tmp_path / "L.bam", AlignmentPlan(tmp_path / "g.fa"))
