"""A small simulated cohort: its files agree with each other and with the truth they state."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pybigtools
import pysam
import pytest
from typer.testing import CliRunner

from allelegro.cli.simulate_cohort import app
from allelegro.errors import DataError
from allelegro.simulate.cohort import simulate_cohort
from allelegro.simulate.settings import FLATTERING, Settings

SMALL = Settings(
    **{
        **FLATTERING,
        "seed": 3,
        "individuals": 4,
        "second_libraries": 1,
        "loci": 24,
        "chromosomes": 2,
        "spacing": 7000,
        "mpra_elements": 100,
        "mpra_cells": 2,
        "reads_per_library": 6000,
        "satmut_elements": 2,
        "mutation_rate": 4e-8,
    }
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "cohort"
    simulate_cohort(folder, SMALL)
    return folder


@pytest.fixture(scope="module")
def swapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "swapped"
    simulate_cohort(folder, Settings(**{**vars(SMALL), "swap_donors": True}), threads=2)
    return folder


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / name, sep="\t")


def genome(folder: Path) -> dict[str, str]:
    with pysam.FastaFile(str(folder / "genome.fa")) as fasta:
        return {name: fasta.fetch(name) for name in fasta.references}


def bigwig(folder: Path, library: str, strand: str) -> dict[tuple[str, int], int]:
    reader = pybigtools.open(str(folder / f"libraries/{library}.{strand}.bw"))
    counts = {}
    for chrom in reader.chroms():
        for start, end, value in reader.records(chrom):
            counts.update({(chrom, position): int(value) for position in range(start, end)})
    return counts


def genotypes(folder: Path) -> list[tuple[str, int, str, str, np.ndarray]]:
    """chrom, 0-based position, REF, ALT and alleles ``[donors, 2]`` of every record."""
    with pysam.VariantFile(str(folder / "variants.vcf.gz")) as calls:
        return [
            (r.chrom, r.start, r.ref, r.alts[0], np.array([s.allele_indices for s in r.samples.values()]))
            for r in calls
        ]


def test_variants_are_normalised_unique_and_agree_with_the_genome(cohort: Path) -> None:
    sequence, seen, kinds = genome(cohort), set(), Counter()
    for chrom, start, ref, alt, alleles in genotypes(cohort):
        assert sequence[chrom][start : start + len(ref)] == ref and ref != alt
        assert (chrom, start) not in seen
        seen.add((chrom, start))
        assert alleles.any()
        if len(ref) == len(alt) == 1:
            kinds["snv"] += 1
            continue
        kinds["indel"] += 1
        longer = max(ref, alt, key=len)
        assert min(len(ref), len(alt)) == 1 and ref[0] == alt[0]
        assert longer[-1] != longer[0]  # else it could shift left
    assert 0.05 < kinds["indel"] / kinds.total() < 0.17


def test_alternative_alleles_are_rare_and_linked(cohort: Path) -> None:
    records = genotypes(cohort)
    chrom = [r for r in records if r[0] == "chr1"]
    matrix = np.stack([r[4].ravel() for r in chrom]).astype(float)
    frequency = matrix.mean(1)
    assert np.mean(frequency <= 0.25) > 0.4 and np.mean(frequency > 0.5) > 0.02
    common = matrix[(frequency >= 0.25) & (frequency <= 0.75)]
    linkage = np.corrcoef(common) ** 2
    near = np.mean(np.diagonal(linkage, 1))
    assert near > np.mean(np.diagonal(linkage, len(common) // 2)) + 0.1


def slow_haplotype(sequence: str, records: list[tuple[int, str, str]], centre: int, half: int) -> str:
    """Apply variants from right to left to a string, then cut around the centre."""
    left, right = sequence[: centre + half + 300], ""
    left, right = sequence[:centre], sequence[centre : centre + half + 300]
    for start, ref, alt in sorted(records, reverse=True):
        if start >= centre:
            at = start - centre
            right = right[:at] + alt + right[at + len(ref) :]
        elif start + len(ref) <= centre:
            left = left[:start] + alt + left[start + len(ref) :]
        else:  # a deletion that takes the centre with it
            left, right = left[:start] + alt, right[start + len(ref) - centre :]
    return left[-half:] + right[:half]


def test_stated_rates_follow_from_the_genotypes(cohort: Path) -> None:
    """Rebuild donors' haplotypes from FASTA and VCF alone; the grammar on them gives donor_log2_rate."""
    from allelegro.io.dna import encode
    from allelegro.simulate.plan import make_plan

    plan = make_plan(SMALL, cohort, False)
    elements, sequence = table(cohort, "truth/elements.tsv"), genome(cohort)
    stated, records = np.load(cohort / "truth/donor_log2_rate.npy"), genotypes(cohort)
    for e in range(0, len(elements), 4):
        row = elements.iloc[e]
        near = [r for r in records if r[0] == row.chrom and abs(r[1] - row.centre) < 790]
        for donor in range(SMALL.individuals):
            codes = np.stack(
                [
                    encode(
                        slow_haplotype(sequence[row.chrom], [r[1:4] for r in near if r[4][donor, h]], row.centre, 500)
                    )
                    for h in (0, 1)
                ]
            )
            strand = np.exp2(plan.grammar.initiation(codes).log2_strand + row.context)
            rate = 2 * (strand[:, 0] * row.plus_share + strand[:, 1] * (1 - row.plus_share))
            assert np.log2(rate.mean()) == pytest.approx(stated[e, donor], abs=1e-4)


def test_effects_are_what_one_allele_changes(cohort: Path) -> None:
    """Haplotypes that carry a single variant of the window differ from the reference by that variant's effect."""
    effects, haplotypes = table(cohort, "truth/effects.tsv"), table(cohort, "truth/haplotypes.tsv.gz")
    assert effects.duplicated(["chrom", "pos", "ref", "alt"]).sum() == 0
    assert effects["effect"].abs().max() > 0.3
    assert (effects["effect"].abs() < 0.01).mean() > 0.2
    reference = haplotypes[haplotypes["haplotype"] == 0].set_index("element")["log2_rate"]
    change = haplotypes["log2_rate"] - haplotypes["element"].map(reference)
    largest = effects.groupby("element")["effect"].apply(lambda e: e.abs().sum())
    assert (change.abs() <= 3 * haplotypes["element"].map(largest).fillna(0) + 0.3).all()


def test_reads_are_the_bigwigs(cohort: Path) -> None:
    library = "SIM0001_1"
    counts: dict[bool, Counter] = {False: Counter(), True: Counter()}
    molecules, copies, clipped = set(), 0, 0
    with pysam.AlignmentFile(str(cohort / f"libraries/{library}.bam")) as reads:
        assert reads.header["HD"]["SO"] == "coordinate"
        for read in reads.fetch():
            umi = read.query_name.rsplit("_", 1)[1]
            assert read.get_tag("RX") == umi and read.query_length == 50
            clipped += any(operation == 4 for operation, _ in read.cigartuples)
            five = read.reference_end - 1 if read.is_reverse else read.reference_start
            key = (read.reference_name, five, read.is_reverse, umi)
            copies += key in molecules
            if read.mapping_quality >= 30 and key not in molecules:
                counts[read.is_reverse][read.reference_name, five] += 1
            molecules.add(key)
    assert copies > 100 and clipped > 500
    assert dict(counts[False]) == bigwig(cohort, library, "plus")
    assert dict(counts[True]) == bigwig(cohort, library, "minus")


def allele_agreement(folder: Path, library: str) -> np.ndarray:
    """Share of alleles in a library's reads that each donor could have contributed, over homozygous SNVs."""
    records = [r for r in genotypes(folder) if len(r[2]) == len(r[3]) == 1]
    right, seen = np.zeros(SMALL.individuals), np.zeros(SMALL.individuals)
    with pysam.AlignmentFile(str(folder / f"libraries/{library}.bam")) as reads:
        for chrom, start, ref, alt, alleles in records:
            dosage = alleles.sum(1)
            for column in reads.pileup(chrom, start, start + 1, truncate=True, min_base_quality=0):
                bases = [b.upper() for b in column.get_query_sequences()]
                for donor in np.flatnonzero(dosage != 1):
                    expected = alt if dosage[donor] == 2 else ref
                    right[donor] += sum(b == expected for b in bases)
                    seen[donor] += sum(b in (ref, alt) for b in bases)
    return right / seen


def test_reads_carry_their_donors_alleles_and_a_swap_shows(cohort: Path, swapped: Path) -> None:
    assert allele_agreement(cohort, "SIM0002_1").argmax() == 1 and allele_agreement(cohort, "SIM0002_1")[1] > 0.99
    truth = json.loads((swapped / "truth.json").read_text())
    assert len(truth["swapped_donors"]) == 2
    for library in truth["libraries"]:
        source = truth["donors"].index(library["molecules_from"])
        assert allele_agreement(swapped, library["library"]).argmax() == source
    assert json.loads((cohort / "truth.json").read_text())["swapped_donors"] == []


def test_counts_follow_the_stated_rates(cohort: Path) -> None:
    elements, sheet = table(cohort, "truth/elements.tsv"), table(cohort, "signals.tsv")
    rate = np.load(cohort / "truth/donor_log2_rate.npy")
    observed = []
    for library in sheet["library"]:
        counts = Counter(bigwig(cohort, library, "plus")) + Counter(bigwig(cohort, library, "minus"))
        observed.append(
            [sum(counts[r.chrom, p] for p in range(r.centre - 150, r.centre + 150)) for r in elements.itertuples()]
        )
    donors = [int(d[3:]) - 1 for d in sheet["donor"]]
    assert np.corrcoef(np.log2(np.array(observed) + 1).ravel(), rate[:, donors].T.ravel())[0, 1] > 0.9


def test_summits_are_where_reads_start(cohort: Path) -> None:
    elements, sheet = table(cohort, "truth/elements.tsv"), table(cohort, "signals.tsv")
    total: Counter = Counter()
    for library in sheet["library"]:
        total += Counter(bigwig(cohort, library, "plus"))
    strong = elements.nlargest(10, "log2_plus")
    offset = [
        max(range(r.plus_summit - 40, r.plus_summit + 41), key=lambda p, c=r.chrom: total[c, p]) - r.plus_summit
        for r in strong.itertuples()
    ]
    assert np.median(np.abs(offset)) <= 1


def test_effect_signs_of_every_table(cohort: Path) -> None:
    effects = table(cohort, "truth/effects.tsv").rename(columns={"chrom": "chr"})
    allelic = table(cohort, "truth/mpra.tsv")
    assert np.corrcoef(allelic["LogSkew.Comb"], allelic["true_effect"])[0, 1] > 0.5
    np.testing.assert_allclose(allelic["LogSkew.Comb"], allelic["C.B.log2FC"] - allelic["C.A.log2FC"], atol=1e-5)
    for row in allelic.itertuples():
        assert row.ref_sequence[75 : 75 + len(row.RefAllele)] == row.RefAllele
        assert row.alt_sequence[75 : 75 + len(row.AltAllele)] == row.AltAllele
        assert len(row.ref_sequence) == len(row.alt_sequence) == 150
    saturation = table(cohort, "truth/satmut.tsv")
    assert np.corrcoef(saturation["Coefficient"], saturation["TrueEffect"])[0, 1] > 0.5
    binding = (
        table(cohort, "truth/adastra.tsv")
        .rename(columns={"#chr": "chr"})
        .merge(effects, on=["chr", "pos", "ref", "alt"])
    )
    assert np.corrcoef(binding["es_mean_alt"], binding["effect"])[0, 1] > 0.2
    access = table(cohort, "truth/udacha.tsv").rename(columns={"#chr": "chr"})
    access = access.assign(pos=access["start"] + 1).merge(effects, on=["chr", "pos", "ref", "alt"])
    assert np.corrcoef(access["alt_comb_es"], access["effect"])[0, 1] > 0.2
    assert ((access["pref_allele"] == "alt") == (access["alt_comb_pval"] < access["ref_comb_pval"])).all()


def test_positions_of_every_table_agree_with_the_genome(cohort: Path) -> None:
    sequence = genome(cohort)
    saturation = table(cohort, "truth/satmut.tsv")
    assert all(sequence[r.Chrom][r.Pos - 1] == r.Ref for r in saturation.itertuples())
    binding = table(cohort, "truth/adastra.tsv")
    assert all(sequence[c][p - 1] == r for c, p, r in zip(binding["#chr"], binding["pos"], binding["ref"], strict=True))
    access = table(cohort, "truth/udacha.tsv")
    assert all(sequence[c][p] == r for c, p, r in zip(access["#chr"], access["start"], access["ref"], strict=True))


def test_lentimpra_constructs(cohort: Path) -> None:
    from allelegro.io.dna import decode, encode, reverse_complement

    sequence = genome(cohort)
    first, second = (table(cohort, name) for name in table(cohort, "mpra.tsv")["table"])
    assert list(first.columns) == [
        "seq_id",
        "chromosome",
        "start",
        "end",
        "strand",
        "seq",
        "mean_value",
        "fold_num",
        "rev",
    ]
    for row in first.iloc[::17].itertuples():
        insert = sequence[row.chromosome][row.start : row.end]
        if row.rev:
            insert = decode(reverse_complement(encode(insert)))
        assert row.seq == "AGGACCGGATCAACT" + insert + "CATTGCGTGAACCGA"
    assert first.groupby(["chromosome", "start"])["fold_num"].nunique().max() == 1
    assert set(first["fold_num"]) <= set(range(1, 11)) and first["seq_id"].is_unique
    shared = np.corrcoef(first["mean_value"], second["mean_value"])[0, 1]
    assert 0.5 < shared < 0.999


def checksums(folder: Path, pattern: str) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.md5(p.read_bytes()).hexdigest() for p in sorted(folder.glob(pattern))}


def test_same_seed_same_cohort_without_bam_too(cohort: Path, swapped: Path, tmp_path: Path) -> None:
    simulate_cohort(tmp_path / "again", SMALL, write_bam=False, threads=2)
    assert not list((tmp_path / "again").glob("**/*.bam")) and not (tmp_path / "again/libraries.tsv").exists()
    for pattern in ("libraries/*.bw", "*.vcf.gz", "*.fa", "lentimpra*", "truth/*.tsv", "truth.json", "truth/*.npy"):
        assert checksums(cohort, pattern) == checksums(tmp_path / "again", pattern) != {}
    assert checksums(cohort, "*.vcf.gz") == checksums(swapped, "*.vcf.gz")


def test_sheets_name_files_that_exist(cohort: Path) -> None:
    for sheet, columns in {
        "libraries.tsv": ["bam"],
        "signals.tsv": ["plus", "minus"],
        "mpra.tsv": ["table"],
        "variant_sets.tsv": ["table"],
    }.items():
        for column in columns:
            assert all((cohort / path).is_file() for path in table(cohort, sheet)[column])
    assert len(table(cohort, "libraries.tsv")) == 5
    elements = table(cohort, "elements.bed")
    assert (elements["start"] == elements[["plus_summit", "minus_summit"]].min(axis=1)).all()


def test_nothing_half_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--mpra-elements"):
        simulate_cohort(
            tmp_path / "out", Settings(loci=4, chromosomes=2, individuals=2, second_libraries=0, mpra_elements=5)
        )
    assert list(tmp_path.iterdir()) == []


def test_other_folders_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="is not replaced"):
        simulate_cohort(tmp_path, SMALL)
    assert (tmp_path / "thesis.tex").is_file()


def test_one_donor_and_two_loci_are_enough(tmp_path: Path) -> None:
    least = Settings(
        individuals=1,
        second_libraries=0,
        loci=2,
        chromosomes=2,
        mpra_elements=8,
        mpra_cells=0,
        satmut_elements=0,
        reads_per_library=50,
        spacing=4000,
        interaction_order=3,
        repressors=0,
    )
    simulate_cohort(tmp_path / "least", least)
    assert len(table(tmp_path / "least", "truth/elements.tsv")) == 2
    assert not (tmp_path / "least/mpra.tsv").exists()


def test_command_line_reports_contradictions(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--out", str(tmp_path / "x"), "--preset", "tiny", "--loci", "1"])
    assert isinstance(result.exception, DataError) and "--loci 1" in str(result.exception)
    assert CliRunner().invoke(app, ["--out", str(tmp_path / "x"), "--preset", "huge"]).exit_code == 2
    assert not (tmp_path / "x").exists()
