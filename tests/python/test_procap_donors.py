"""Donor matching: known mixtures, verdicts, and a swapped pair of the simulated cohort by name."""

import logging
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest

from allelegro.errors import DataError
from allelegro.procap.donors import MatchRules, donor_call, match_donor, rank_donors
from allelegro.procap.qc import name_swaps

DONORS = ["A", "B", "C", "D"]


def toy(folder: Path, seed: int = 1, contig: str = "chr1") -> tuple[Path, np.ndarray, str]:
    """A genome of 60 kb with a SNP every 500 bp, the genotypes of four donors; returns the VCF, genotypes and bases."""
    rng = random.Random(seed)
    bases = "".join(rng.choices("ACGT", k=60_000))
    genotypes = np.random.default_rng(seed).binomial(1, 0.4, (119, 4, 2))
    lines = [
        "##fileformat=VCFv4.2",
        f"##contig=<ID={contig},length=60000>",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *DONORS]),
    ]
    for n, site in enumerate(genotypes):
        place = 500 * (n + 1)
        other = alternative(bases[place])
        calls = "\t".join("./." if n % 29 == 0 and donor == 2 else f"{a}|{b}" for donor, (a, b) in enumerate(site))
        lines.append(f"{contig}\t{place + 1}\t.\t{bases[place]}\t{other}\t.\tPASS\t.\tGT\t{calls}")
        if n % 10 == 0:  # neither an indel nor a multi-allelic site may be used
            lines.append(
                f"{contig}\t{place + 100}\t.\t{bases[place + 99]}\t{bases[place + 99]}A\t.\tPASS\t.\tGT\t0|1\t1|1\t0|0\t0|1"
            )
            lines.append(f"{contig}\t{place + 120}\t.\tA\tC,G\t.\tPASS\t.\tGT\t0|1\t1|1\t0|2\t0|1")
    path = folder / "toy.vcf"
    path.write_text("\n".join(lines) + "\n")
    pysam.tabix_index(str(path), preset="vcf", force=True)
    return folder / "toy.vcf.gz", genotypes, bases


def alternative(base: str) -> str:
    return "CGTA"["ACGT".index(base)]


def toy_bam(path: Path, genotypes: np.ndarray, bases: str, donor: int | None, per_site: int = 6) -> Path:
    """Reads over every SNP from one donor's haplotypes (None: from a random one each time), with clips and a deletion."""
    rng = random.Random(7)
    heads = pysam.AlignmentHeader.from_dict({"HD": {"VN": "1.6"}, "SQ": [{"SN": "chr1", "LN": 60_000}]})
    reads = []
    for n in range(len(genotypes)):
        place = 500 * (n + 1)
        for copy in range(per_site):
            who = rng.randrange(4) if donor is None else donor
            allele = genotypes[n, who, rng.randrange(2)]
            start = place - rng.randrange(5, 30)
            sequence = list(bases[start : start + 40])
            if allele:
                sequence[place - start] = alternative(bases[place])
            read = pysam.AlignedSegment(heads)
            read.query_name, read.reference_id, read.reference_start = f"r{n}_{copy}", 0, start
            if copy % 3 == 0:
                read.query_sequence, read.cigarstring = "G" + "".join(sequence), "1S40M"
            elif copy % 3 == 1:
                read.query_sequence, read.cigarstring = "".join(sequence[:2] + sequence[4:]), "2M2D36M"
            else:
                read.query_sequence, read.cigarstring = "".join(sequence[:3]) + "TT" + "".join(sequence[3:]), "3M2I37M"
            read.query_qualities = pysam.qualitystring_to_array("I" * len(read.query_sequence or ""))
            read.mapping_quality, read.flag = 42, 16 * (copy % 2)
            reads.append(read)
    with pysam.AlignmentFile(str(path), "wb", header=heads) as file:
        for read in sorted(reads, key=lambda read: read.reference_start):
            file.write(read)
    return path


def test_every_donor_is_found_and_its_reads_agree(tmp_path: Path) -> None:
    vcf, genotypes, bases = toy(tmp_path)
    for number, name in enumerate(DONORS):
        bam = toy_bam(tmp_path / f"{name}.bam", genotypes, bases, number)
        table = match_donor([bam], [vcf], "L", name, tmp_path / "L.donors.tsv", MatchRules())
        assert table["candidate"].iloc[0] == name
        assert table["verdict"].unique().tolist() == ["match"]
        assert table["concordance"].iloc[0] == 1
        assert table["concordance"].iloc[1:].max() < 0.9
        informative = (np.ptp(genotypes.sum(axis=2), axis=1) > 0).sum()
        assert informative - 5 <= table["sites"].iloc[0] <= informative
        written = pd.read_csv(tmp_path / "L.donors.tsv", sep="\t")
        assert written["candidate"].tolist() == table["candidate"].tolist()


def test_genotypes_in_several_files_are_one_set(tmp_path: Path) -> None:
    vcf, genotypes, bases = toy(tmp_path)
    bam = toy_bam(tmp_path / "a.bam", genotypes, bases, 0)
    with pysam.VariantFile(str(vcf)) as whole:
        header, records = str(whole.header), [str(record) for record in whole]
    halves = []
    for number, part in enumerate((records[::2], records[1::2])):
        plain = tmp_path / f"half{number}.vcf"
        plain.write_text(header + "".join(part))
        halves.append(Path(pysam.tabix_index(str(plain), preset="vcf")))
    together, apart = (
        match_donor([bam], files, "L", "A", tmp_path / "t.tsv", MatchRules()) for files in ([vcf], halves)
    )
    pd.testing.assert_frame_equal(together, apart)
    other = tmp_path / "other.vcf"
    other.write_text(header.replace("\tA\tB", "\tB\tA") + records[0])
    with pytest.raises(DataError, match=r"other\.vcf\.gz: its donors are not those of"):
        match_donor(
            [bam], [vcf, Path(pysam.tabix_index(str(other), preset="vcf"))], "L", "A", tmp_path / "t.tsv", MatchRules()
        )


def test_swap_mixture_and_unknown_donor(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    vcf, genotypes, bases = toy(tmp_path)
    bam = toy_bam(tmp_path / "a.bam", genotypes, bases, 0)
    with caplog.at_level(logging.INFO):
        assert match_donor([bam], [vcf], "L", "B", tmp_path / "t.tsv", MatchRules())["verdict"].iloc[0] == "swap"
    assert "L (B): swap; best donor A" in caplog.text
    assert (
        match_donor([bam], [vcf], "L", "Z", tmp_path / "t.tsv", MatchRules())["verdict"].iloc[0]
        == "donor not genotyped"
    )
    mixed = toy_bam(tmp_path / "mixed.bam", genotypes, bases, None)
    assert match_donor([mixed], [vcf], "L", "B", tmp_path / "t.tsv", MatchRules())["verdict"].iloc[0] == "no donor fits"
    strict = MatchRules(min_sites=1000)
    assert match_donor([bam], [vcf], "L", "B", tmp_path / "t.tsv", strict)["verdict"].iloc[0] == "undecided"


def test_runs_are_summed_whatever_the_order_of_their_contigs(tmp_path: Path) -> None:
    vcf, genotypes, bases = toy(tmp_path)
    bam, halves = toy_bam(tmp_path / "a.bam", genotypes, bases, 0), [tmp_path / "half0.bam", tmp_path / "half1.bam"]
    with pysam.AlignmentFile(str(bam)) as file:
        contigs = [*zip(file.references, file.lengths, strict=True), ("chrM", 16_571)]
        reads = [read.to_dict() for read in file]
    for number, half in enumerate(halves):
        order = contigs[::-1] if number else contigs[:-1]
        heads = pysam.AlignmentHeader.from_dict({"SQ": [{"SN": name, "LN": size} for name, size in order]})
        with pysam.AlignmentFile(str(half), "wb", header=heads) as file:
            for read in reads[number::2]:
                file.write(pysam.AlignedSegment.from_dict(read, heads))
    together, apart = (match_donor(runs, [vcf], "L", "A", tmp_path / "t.tsv", MatchRules()) for runs in ([bam], halves))
    pd.testing.assert_frame_equal(together, apart)
    (tmp_path / "link.bam").symlink_to(bam)
    with pytest.raises(DataError, match=r"link.bam: the same data as .*a.bam; give each run of a library once"):
        match_donor([bam, tmp_path / "link.bam"], [vcf], "L", "A", tmp_path / "t.tsv", MatchRules())


def test_contigs_that_do_not_meet_and_broken_vcf(tmp_path: Path) -> None:
    vcf, genotypes, bases = toy(tmp_path, contig="1")
    bam = toy_bam(tmp_path / "a.bam", genotypes, bases, 0)
    with pytest.raises(
        DataError, match=r"in common with .*toy.vcf.gz \(chr1 against 1\); names differ by the prefix chr"
    ):
        match_donor([bam], [vcf], "L", "A", tmp_path / "t.tsv", MatchRules())
    vcf.write_bytes(vcf.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"toy.vcf.gz: .*truncated"):
        match_donor([bam], [vcf], "L", "A", tmp_path / "t.tsv", MatchRules())
    assert not (tmp_path / "t.tsv").exists()


def test_allelic_imbalance_and_towers_do_not_mislead() -> None:
    rng = np.random.default_rng(2)
    genotypes = rng.binomial(2, 0.4, (400, 10)).astype(np.uint8)
    depth = rng.negative_binomial(0.5, 0.05, 400)
    share = np.where(genotypes[:, 3] == 1, rng.beta(2, 2, 400), genotypes[:, 3] / 2)
    alternative_reads = rng.binomial(depth, np.clip(share, 0.01, 0.99))
    alternative_reads[:5] = 5000 * (genotypes[:5, 3] == 0)  # five towers that contradict the donor
    counts = np.stack([depth - np.minimum(alternative_reads, depth), alternative_reads], axis=1)
    table = rank_donors(counts, genotypes, [f"D{n}" for n in range(10)])
    assert table["candidate"].iloc[0] == "D3"
    assert table["log10_odds"].iloc[0] > 20
    assert (table["log10_odds"].iloc[1:] < -20).all()


def test_nothing_to_compare_is_undecided() -> None:
    table = rank_donors(np.zeros((0, 2), np.int64), np.empty((0, 2), np.uint8), ["A", "B"])
    assert donor_call(table, "A", MatchRules()) == "undecided"


def test_swaps_are_paired_by_name() -> None:
    def rows(library: str, donor: str, best: str) -> list[dict[str, object]]:
        return [
            {"library": library, "donor": donor, "candidate": name, "sites": 50, "reads": 99,
             "concordance": 1.0 if name == best else 0.6, "log10_odds": 40.0 if name == best else -40.0,
             "verdict": "match" if donor == best else "swap"}
            for name in [best, *({"A", "B", "C"} - {best})]
        ]  # fmt: skip

    table = pd.DataFrame(rows("a1", "A", "B") + rows("a2", "A", "A") + rows("b1", "B", "A") + rows("c1", "C", "A"))
    donors, lines = name_swaps(table)
    assert lines == [
        "library a1 is said to be of A but its reads are those of B: swapped with b1",
        "library b1 is said to be of B but its reads are those of A: swapped with a1",
        "library c1 is said to be of C but its reads are those of A",
    ]
    assert donors["note"].tolist() == ["swapped with b1", "", "swapped with a1", "reads are those of A"]
    assert donors["concordance"].tolist() == [0.6, 1, 0.6, 0.6]


def test_a_swapped_pair_of_the_simulated_cohort_is_named(tmp_path: Path) -> None:
    bin_folder = Path(__file__).parents[2] / "bin"
    options = ["--preset", "tiny", "--swap-donors", "--seed", "3", "--out", tmp_path / "sim"]
    subprocess.run(
        [sys.executable, bin_folder / "simulate_cohort.py", *map(str, options)], check=True, capture_output=True
    )
    sheet = pd.read_csv(tmp_path / "sim" / "libraries.tsv", sep="\t")
    truth = pd.DataFrame(pd.read_json(tmp_path / "sim" / "truth.json", typ="series")["libraries"]).set_index("library")
    tables = [
        match_donor([tmp_path / "sim" / row.bam], [tmp_path / "sim" / "variants.vcf.gz"], row.library, row.donor,
                    tmp_path / f"{row.library}.tsv", MatchRules())
        for row in sheet.itertuples()
    ]  # fmt: skip
    donors, lines = name_swaps(pd.concat(tables))
    donors = donors.set_index("library")
    assert donors["best_donor"].to_dict() == truth["molecules_from"].to_dict()
    swapped = set(truth.index[truth["donor"] != truth["molecules_from"]])
    assert len(swapped) >= 2
    assert set(donors.index[donors["verdict"] == "swap"]) == swapped
    assert set(donors["verdict"]) == {"match", "swap"}
    assert len(lines) == len(swapped) and all("swapped with" in line for line in lines)
