"""Scores against an independent slow implementation, and every reason to drop a variant."""

from pathlib import Path

import pandas as pd
import pysam
import pytest
from effects_toys import write_checkpoint, write_genome, write_vcf

from allelegro.cli.score_variants import app
from allelegro.effects.output import read_scores
from allelegro.io.dna import encode
from allelegro.models.checkpoint import LoadedModel

WIDTH = 60
CONTIGS = {"chr1": 900, "chr2": 700}


@pytest.fixture
def room(tmp_path: Path) -> Path:
    write_genome(tmp_path / "genome.fa", CONTIGS)
    return tmp_path


def genome_of(room: Path) -> dict[str, str]:
    with pysam.FastaFile(str(room / "genome.fa")) as fasta:
        return {name: fasta.fetch(name) for name in fasta.references}


def score(room: Path, *arguments: str, out: str = "scores.tsv") -> pd.DataFrame:
    app(["--out", str(room / out), "--device", "cpu", "--precision", "fp32", *arguments], standalone_mode=False)
    return read_scores(room / out)


def slow_log2(model: LoadedModel, sequence: str) -> float:
    return float(model.predict_log2(encode(sequence)[None])[0])


def slow_window(sequence: str, pos: int, ref: str, alt: str, width: int, shift: int = 0) -> tuple[str, str]:
    """Reference and alternative windows by string surgery on a contig padded with N."""
    pad = "N" * (2 * width)
    start = len(pad) + pos - 1 - width // 2 + shift
    whole = pad + sequence + pad
    at = len(pad) + pos - 1
    assert whole[at : at + len(ref)] == ref
    edited = whole[:at] + alt + whole[at + len(ref) :]
    return whole[start : start + width], edited[start : start + width]


def variant(genome: dict[str, str], chrom: str, pos: int, length: int = 1) -> str:
    return genome[chrom][pos - 1 : pos - 1 + length]


def other(base: str) -> str:
    return {"A": "C", "C": "G", "G": "T", "T": "A"}[base]


def test_snvs_and_indels_equal_string_surgery(room: Path) -> None:
    genome = genome_of(room)
    model = write_checkpoint(room / "model", WIDTH)
    records = []
    for chrom, pos, length, alt in [
        ("chr1", 100, 1, None), ("chr1", 101, 1, None), ("chr1", 300, 4, "first"), ("chr1", 400, 1, "insert"),
        ("chr1", 5, 1, None), ("chr1", 898, 1, None), ("chr2", 50, 3, "mnv"), ("chr2", 600, 9, "first"),
    ]:  # fmt: skip
        ref = variant(genome, chrom, pos, length)
        changed = {None: other(ref[0]), "first": ref[0], "insert": ref + "GATTACA", "mnv": "".join(map(other, ref))}
        records.append((chrom, pos, f"v{pos}", ref, changed[alt]))
    write_vcf(room / "v.vcf", CONTIGS, records)
    scores = score(
        room, "--checkpoint", str(room / "model"), "--variants", str(room / "v.vcf"), "--fasta", str(room / "genome.fa")
    )
    assert scores["pos"].tolist() == [record[1] for record in records]
    for (chrom, pos, _, ref, alt), row in zip(records, scores.itertuples(), strict=True):
        before, after = (slow_log2(model, text) for text in slow_window(genome[chrom], pos, ref, alt, WIDTH))
        assert row.ref_prediction == pytest.approx(before, abs=1e-4)
        assert row.effect == pytest.approx(after - before, abs=1e-4)
        assert abs(row.effect) > 1e-3
