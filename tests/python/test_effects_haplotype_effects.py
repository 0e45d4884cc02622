"""Effects on the haplotypes of a store against sequences built by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest

from allelegro.cli.extract_haplotypes import app as extract
from allelegro.cli.score_variants import app as score_variants
from allelegro.io.dna import encode
from allelegro.io.windows import WINDOW_COLUMNS, write_windows
from helpers.toy_variants import write_checkpoint, write_genome

WIDTH, START = 40, 100


def other(base: str) -> str:
    return {"A": "C", "C": "G", "G": "T", "T": "A"}[base]


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """Two donors: haplotypes reference, one SNV, and the SNV with a 3-bp deletion left of the tested variant."""
    genome = write_genome(tmp_path / "g.fa", {"chr1": 400})["chr1"]
    snv, deletion = (START + 55, genome[START + 54]), (START + 30, genome[START + 29 : START + 33])
    lines = [
        "##fileformat=VCFv4.2", "##contig=<ID=chr1,length=400>", '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">',
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\td1\td2",
        f"chr1\t{deletion[0]}\t.\t{deletion[1]}\t{deletion[1][0]}\t.\t.\t.\tGT\t0|0\t0|1",
        f"chr1\t{snv[0]}\t.\t{snv[1]}\t{other(snv[1])}\t.\t.\t.\tGT\t0|1\t1|1",
    ]  # fmt: skip
    (tmp_path / "p.vcf").write_text("\n".join(lines) + "\n")
    pysam.tabix_index(str(tmp_path / "p.vcf"), preset="vcf", force=True)
    write_windows(
        pd.DataFrame([("chr1", START, START + 100, "w", 1.0, ".", 0)], columns=WINDOW_COLUMNS), tmp_path / "w.bed"
    )
    extract(
        ["--vcf", str(tmp_path / "p.vcf.gz"), "--fasta", str(tmp_path / "g.fa"), "--windows", str(tmp_path / "w.bed"),
         "--out", str(tmp_path / "store")], standalone_mode=False,
    )  # fmt: skip
    (tmp_path / "genome.txt").write_text(genome)
    return tmp_path


def test_effects_on_every_distinct_haplotype(room: Path) -> None:
    genome = (room / "genome.txt").read_text()
    model = write_checkpoint(room / "m", WIDTH)
    pos = START + 50
    ref = genome[pos - 1]
    table = pd.DataFrame(
        [("chr1", pos, ref, other(ref)), ("chr1", 390, genome[389], other(genome[389])), ("chr1", pos, ref, ref + "A")]
    )
    table.set_axis(["chrom", "pos", "ref", "alt"], axis=1).to_csv(room / "v.tsv", sep="\t", index=False)
    score_variants(
        ["--checkpoint", str(room / "m"), "--variants", str(room / "v.tsv"), "--fasta", str(room / "g.fa"),
         "--out", str(room / "s.tsv"), "--haplotypes", str(room / "store"), "--out-backgrounds", str(room / "b.tsv"),
         "--precision", "fp32", "--device", "cpu"], standalone_mode=False,
    )  # fmt: skip
    rows = pd.read_csv(room / "b.tsv", sep="\t")
    assert len(rows) == 1
    row = rows.iloc[0]
    effects = []
    at = START + 54
    with_snv = genome[:at] + other(genome[at]) + genome[at + 1 :]
    with_both = with_snv[: START + 30] + with_snv[START + 33 :]
    for text, place in ((genome, pos - 1), (with_snv, pos - 1), (with_both, pos - 4)):
        window = text[place - WIDTH // 2 : place + WIDTH // 2]
        changed = window[: WIDTH // 2] + other(ref) + window[WIDTH // 2 + 1 :]
        before, after = (float(model.predict_log2(encode(piece)[None])[0]) for piece in (window, changed))
        effects.append(after - before)
    weights = [1, 2, 1]  # d1: reference and SNV; d2: SNV, SNV with deletion
    mean = np.average(effects, weights=weights)
    assert (row["backgrounds"], row["haplotypes"], row["window"]) == (3, 4, "w")
    assert row["effect_reference"] == pytest.approx(effects[0], abs=1e-4)
    assert row["effect_mean"] == pytest.approx(mean, abs=1e-4)
    assert row["effect_sd"] == pytest.approx(np.sqrt(np.average((effects - mean) ** 2, weights=weights)), abs=1e-4)
    assert row["effect_max"] - row["effect_min"] > 1e-3
