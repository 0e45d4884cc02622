"""Allelic reads: equal to the simulator's molecules read by read, to an independent loop on real reads, and clear errors."""

import gzip
import json
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest

from allelegro.errors import DataError
from allelegro.procap.alleles import AlleleRules, count_alleles, homozygous_odds
from allelegro.procap.bam import ReadRules
from allelegro.procap.counts import CountsStore, count_windows, read_signal_sheet
from allelegro.simulate.cohort import simulate_cohort
from allelegro.simulate.settings import settings_of

REAL = Path("/usr/share/doc/drop-seq/examples/org/broadinstitute/dropseq/censusseq")


def windows_around(folder: Path, out: Path) -> Path:
    """Windows of 1 kb around the elements of a simulated cohort."""
    elements = pd.read_csv(folder / "elements.bed", sep="\t")
    centre = (elements["plus_summit"] + elements["minus_summit"]) // 2
    table = elements[["#chrom"]].assign(start=centre - 500, end=centre + 500, name=elements["name"])
    table.assign(score=0, strand=".", fold=0).to_csv(out, sep="\t", index=False)
    return out


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two tiny cohorts with tagged haplotypes: without sequencing errors, and with many and a mapping bias."""
    folder = tmp_path_factory.mktemp("alleles")
    for name, dials in (("clean", {"error_rate": 0.0}), ("noisy", {"error_rate": 0.02, "mapping_bias": 0.2})):
        sizes = {"individuals": 3, "second_libraries": 1, "loci": 24, "mpra_elements": 200, "haplotype_tags": True}
        simulate_cohort(folder / name, settings_of("tiny", sizes | dials))
        windows_around(folder / name, folder / name / "windows.bed")
    return {name: folder / name for name in ("clean", "noisy")}


@dataclass
class Slow:
    """What a plain loop over reads finds."""

    counts: np.ndarray
    snvs: dict[tuple[str, int], list[int]]
    outcomes: Counter[str]
    wrong: int


def slow_count(bam: Path, vcf: Path, donor: str, windows: pd.DataFrame, table: pd.DataFrame, umi: bool) -> Slow:
    """Count read by read with pysam; sites that ``table`` does not use tell no haplotype."""
    sites: dict[str, dict[int, tuple[str, str, int]]] = defaultdict(dict)
    for record in pysam.VariantFile(str(vcf)):
        first, second = (record.samples[donor]["GT"] + (None,))[:2]
        if None in (first, second) or first == second or 0 not in (first, second) or len(str(record.ref)) > 1:
            continue
        alternative = (record.alleles or ())[first + second]
        if len(alternative) == 1:
            sites[record.chrom][record.pos - 1] = (str(record.ref), alternative, int(second > 0))
    unused = {(row.chrom, row.pos - 1) for row in table.itertuples() if row.use != "used"}
    found = Slow(np.zeros((len(windows), 2, 2), int), defaultdict(lambda: [0, 0, 0, 0]), Counter(), 0)
    seen = set()
    with pysam.AlignmentFile(str(bam)) as file:
        for read in file:
            if read.flag & 0xB04 or read.mapping_quality < 30 or (read.is_paired and not read.is_read1):
                continue
            contig, bases, qualities = read.reference_name, read.query_sequence, read.query_qualities
            assert contig and bases and qualities and read.reference_end
            here = [(q, p) for q, p in read.get_aligned_pairs(matches_only=True) if p in sites[contig]]
            if not here:
                continue
            five = read.reference_end - 1 if read.is_reverse else read.reference_start
            if umi:
                molecule = contig, five, read.is_reverse, read.get_tag("RX")
                if molecule in seen:
                    continue
                seen.add(molecule)
            votes: Counter[int] = Counter()
            for query, position in here:
                ref, alt, carrier = sites[contig][position]
                kind = 3 if qualities[query] < 20 else {ref: 0, alt: 1}.get(bases[query], 2)
                found.snvs[contig, position + 1][kind] += 1
                if (contig, position) not in unused:
                    votes[{0: 1 - carrier, 1: carrier, 2: 2, 3: 3}[kind]] += 1
            inside = (windows["chrom"] == contig) & (windows["start"] <= five) & (five < windows["end"])
            if inside.any() and not votes[2] and bool(votes[0]) != bool(votes[1]):
                side = int(votes[1] > 0)
                found.counts[int(inside.to_numpy().argmax()), int(read.is_reverse), side] += 1
                found.wrong += read.has_tag("XH") and read.get_tag("XH") != side + 1
    return found


def counted(folder: Path, library: str, donor: str, out: Path, **options: object) -> dict:
    """Count a library of a simulated cohort."""
    return count_alleles(
        [folder / f"libraries/{library}.bam"], [folder / "variants.vcf.gz"], folder / "windows.bed", out,
        library=library, donor=donor, read_rules=ReadRules(umi="RX"), **options,  # type: ignore[arg-type]
    )  # fmt: skip


def results(prefix: Path) -> tuple[np.ndarray, pd.DataFrame]:
    return np.load(f"{prefix}.allelic.npy"), pd.read_csv(f"{prefix}.snvs.tsv.gz", sep="\t", dtype={"id": str})


@pytest.mark.parametrize("kind", ["clean", "noisy"])
def test_counts_are_those_of_the_molecules_read_by_read(cohorts: dict[str, Path], kind: str, tmp_path: Path) -> None:
    folder = cohorts[kind]
    summary = counted(folder, "SIM0002_1", "SIM0002", tmp_path / "a")
    counts, table = results(tmp_path / "a")
    windows = pd.read_csv(folder / "windows.bed", sep="\t").rename(columns={"#chrom": "chrom"})
    slow = slow_count(
        folder / "libraries/SIM0002_1.bam", folder / "variants.vcf.gz", "SIM0002", windows, table, umi=True
    )
    excluded = windows["name"].isin(summary["windows"]["excluded"]).to_numpy()
    assert counts.dtype == np.uint32 and counts.shape == (24, 2, 2)
    np.testing.assert_array_equal(counts[~excluded], slow.counts[~excluded])
    assert not counts[excluded].any()
    columns = ["ref_count", "alt_count", "other", "low_quality"]
    mine = {(str(row["chrom"]), int(row["pos"])): [int(row[name]) for name in columns] for _, row in table.iterrows()}
    assert mine == dict(slow.snvs)
    assert counts.sum() > 200 and summary["reads"]["assigned to a haplotype"] == counts.sum()
    if kind == "clean":
        assert slow.wrong == 0 and not excluded.any()
    else:
        assert 0 < slow.wrong < 0.03 * slow.counts.sum()
        assert summary["reads"]["third base"] > 0


def test_threads_by_contig_and_runs_give_the_same(cohorts: dict[str, Path], tmp_path: Path) -> None:
    folder = cohorts["clean"]
    one = counted(folder, "SIM0001_1", "SIM0001", tmp_path / "one")
    two = counted(folder, "SIM0001_1", "SIM0001", tmp_path / "two", threads=2)
    assert one == two
    pd.testing.assert_frame_equal(results(tmp_path / "one")[1], results(tmp_path / "two")[1])
    again = [folder / f"libraries/SIM0001_{run}.bam" for run in (1, 2)]
    both = count_alleles(
        again, [folder / "variants.vcf.gz"], folder / "windows.bed", tmp_path / "both", library="L", donor="SIM0001",
        read_rules=ReadRules(umi="RX"),
    )  # fmt: skip
    second = counted(folder, "SIM0001_2", "SIM0001", tmp_path / "second")
    whole = sum(part["reads"]["assigned to a haplotype"] for part in (one, second))
    assert whole - 10 <= both["reads"]["assigned to a haplotype"] <= whole
    stale = tmp_path / "stale.bam"
    shutil.copy(again[0], stale)
    shutil.copy(f"{again[1]}.bai", f"{stale}.bai")
    with pytest.raises(DataError):
        count_alleles(
            [stale], [folder / "variants.vcf.gz"], folder / "windows.bed", tmp_path / "no", library="L", donor="SIM0001",
            read_rules=ReadRules(), threads=2,
        )  # fmt: skip


def rewritten(folder: Path, out: Path, change: tuple[str, str]) -> Path:
    """The cohort's VCF with one text in place of another."""
    text = gzip.decompress((folder / "variants.vcf.gz").read_bytes()).decode()
    assert change[0] in text
    out.write_text(text.replace(*change))
    return Path(pysam.tabix_index(str(out), preset="vcf", force=True))


def test_wrong_inputs_are_one_clear_line(cohorts: dict[str, Path], tmp_path: Path) -> None:
    folder = cohorts["clean"]
    bam, windows, rules = folder / "libraries/SIM0001_1.bam", folder / "windows.bed", ReadRules(umi="RX")

    def fails(vcf: Path, donor: str = "SIM0001", reads: Path = bam, read_rules: ReadRules = rules) -> str:
        with pytest.raises(DataError) as error:
            count_alleles(
                [reads], [vcf], windows, tmp_path / "x" / "a", library="L", donor=donor, read_rules=read_rules
            )
        assert not (tmp_path / "x").exists() and "\n" not in str(error.value)
        return str(error.value)

    good = folder / "variants.vcf.gz"
    assert "donor NOBODY is not among its 3 samples" in fails(good, "NOBODY")
    unphased = rewritten(folder, tmp_path / "unphased.vcf", ("|", "/"))
    assert "is phased" in fails(unphased) and "none of the" in fails(unphased)
    lengths = rewritten(folder, tmp_path / "other.vcf", ("##contig=<ID=chr1,length=", "##contig=<ID=chr1,length=9"))
    assert "another assembly" in fails(lengths)
    named = rewritten(folder, tmp_path / "named.vcf", ("chr", "Chr_"))
    assert "no contig in common" in fails(named)
    assert "no read that counts covers any of the" in fails(good, read_rules=ReadRules(min_mapq=255))
    moved = tmp_path / "moved.bam"
    with pysam.AlignmentFile(str(bam)) as source, pysam.AlignmentFile(str(moved), "wb", template=source) as out:
        for read in source:
            read.reference_start += 7
            if (read.reference_end or 0) <= source.lengths[read.reference_id]:
                out.write(read)
    assert "another assembly" in fails(good, reads=moved)


def test_sites_that_tell_no_haplotype_are_set_apart(tmp_path: Path) -> None:
    """Phase sets, contradicting reads, an unphased site, one near an indel, and one with a single allele."""
    bases = "".join("ACGT"[i % 4] for i in range(4000))
    calls = [
        # two phase sets in the first window
        (300, "A", "C", "0|1:1"), (320, "A", "C", "0|1:2"),
        # agreeing sites, an unphased one, one near an indel, in the second
        (1300, "A", "C", "0|1:5"), (1320, "A", "C", "1|0:5"), (1340, "A", "C", "0/1:5"), (1352, "A", "AT", "0|1:5"),
        (1356, "A", "C", "0|1:5"),
        # wrong phase in the third
        (2300, "A", "C", "0|1:5"), (2320, "A", "C", "0|1:5"),
        # a likely genotyping error in the fourth
        (3300, "A", "C", "0|1:5"),
    ]  # fmt: skip
    vcf = tmp_path / "v.vcf"
    head = "##fileformat=VCFv4.2\n##contig=<ID=c,length=4000>\n" + "".join(
        f'##FORMAT=<ID={name},Number=1,Type={kind},Description="x">\n'
        for name, kind in (("GT", "String"), ("PS", "Integer"))
    )
    lines = [f"c\t{pos + 1}\trs{pos}\t{ref}\t{alt}\t.\tPASS\t.\tGT:PS\t{call}" for pos, ref, alt, call in calls]
    vcf.write_text(head + "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tD\n" + "\n".join(lines) + "\n")
    pysam.tabix_index(str(vcf), preset="vcf", force=True)
    names = "".join(f"c\t{start}\t{start + 1000}\tw{start}\t0\t.\t0\n" for start in range(0, 4000, 1000))
    (tmp_path / "w.bed").write_text("#chrom\tstart\tend\tname\tscore\tstrand\tfold\n" + names)
    header = pysam.AlignmentHeader.from_dict({"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": [{"SN": "c", "LN": 4000}]})

    def read(start: int, alternatives: dict[int, str], number: int) -> pysam.AlignedSegment:
        letters = list(bases[start : start + 50])
        for position, letter in alternatives.items():
            letters[position - start] = letter
        made = pysam.AlignedSegment(header)
        made.query_name, made.reference_id, made.reference_start, made.cigarstring = f"r{number}", 0, start, "50M"
        made.query_sequence, made.mapping_quality = "".join(letters), 60
        made.query_qualities = pysam.qualitystring_to_array("I" * 50)
        return made

    plan = [
        *[(290, {300: "C", 320: "C"})] * 5,
        *[(1290, {1300: "C"})] * 4,  # haplotype 2 at both phased sites
        *[(1290, {1320: "C"})] * 3,  # haplotype 1
        (1290, {1300: "C", 1320: "C"}),  # contradicting
        (1290, {1300: "G"}),  # third base
        *[(1325, {})] * 2,  # over the unphased site only
        *[(1348, {1356: "C"})] * 2,  # near the indel
        *[(2290, {2300: "C"})] * 8,  # contradicts the phase
        *[(3290, {})] * 40,  # one allele only
    ]
    with pysam.AlignmentFile(str(tmp_path / "r.bam"), "wb", header=header) as file:
        for number, (start, alternatives) in enumerate(plan):
            file.write(read(start, alternatives, number))
    summary = count_alleles(
        [tmp_path / "r.bam"], [Path(f"{vcf}.gz")], tmp_path / "w.bed", tmp_path / "a", library="L", donor="D",
        read_rules=ReadRules(), allele_rules=AlleleRules(indel_distance=5),
    )  # fmt: skip
    counts, table = results(tmp_path / "a")
    assert counts[:, 0].tolist() == [[0, 0], [3, 4], [0, 0], [0, 0]]
    assert summary["windows"]["excluded"] == {
        "w0": "window of several phase sets",
        "w2000": "window whose sites disagree",
    }
    reads = summary["reads"]
    assert (reads["site not phased"], reads["site near an indel"], reads["likely genotyping error"]) == (2, 2, 40)
    assert (reads["third base"], reads["contradicting bases"], reads["window of several phase sets"]) == (1, 9, 5)
    assert table.set_index("pos")["use"].to_dict()[3301] == "likely genotyping error"
    assert table["id"].iloc[0] == "rs300" and list(table.columns[:9]) == [
        "chrom", "pos", "ref", "alt", "library", "donor", "ref_count", "alt_count", "other",
    ]  # fmt: skip
    assert json.loads((tmp_path / "a.alleles.json").read_text()) == summary


def test_one_allele_only_says_homozygous_when_many_reads_do() -> None:
    odds = homozygous_odds([0, 5, 40, 40, 200], [8, 5, 0, 12, 1])
    assert (odds > 10).tolist() == [False, False, True, False, True]


def real_donor(folder: Path, donor: str) -> tuple[Path, Path]:
    """Reads and phased genotypes of one of ten donors on chr22; unphased calls are taken as phased here."""
    text = gzip.decompress((REAL / "10_donors_chr22.selected_sites.vcf.gz").read_bytes()).decode()
    header, *rows = ("#CHROM" + text.split("#CHROM", 1)[1]).splitlines()
    column = header.split("\t").index(donor)
    chosen = [row for line in rows if (row := line.split("\t"))[column][:3] in ("0/1", "1/1")]
    lines = ["\t".join([*row[:7], ".", "GT", row[column][:3].replace("/", "|")]) for row in chosen]
    vcf = folder / f"{donor}.vcf"
    vcf.write_text("##fileformat=VCFv4.2\n##contig=<ID=22>\n##FORMAT=<ID=GT,Number=1,Type=String,Description=\"x\">\n"
                   + "\t".join([*header.split("\t")[:9], donor]) + "\n" + "\n".join(lines) + "\n")  # fmt: skip
    packed = Path(pysam.tabix_index(str(vcf), preset="vcf", force=True))
    whole, bam = folder / "whole.bam", folder / f"{donor}.bam"
    if not whole.exists():
        whole.write_bytes(gzip.decompress((REAL / "10_donors_chr22.selected_sites.bam.gz").read_bytes()))
    with pysam.AlignmentFile(str(whole)) as source, pysam.AlignmentFile(str(bam), "wb", template=source) as out:
        for read in source:
            if read.get_tag("ZS") == donor:
                out.write(read)
    return bam, packed


def real_donors() -> list[str]:
    text = gzip.decompress((REAL / "10_donors_chr22.selected_sites.vcf.gz").read_bytes()).decode()
    return next(line for line in text.splitlines() if line.startswith("#CHROM")).split("\t")[9:]


def real_windows(path: Path, width: int) -> Path:
    starts = range(16_000_000, 51_000_000, width)
    names = "".join(f"22\t{start}\t{start + width}\tw{start}\t0\t.\t0\n" for start in starts)
    path.write_text("#chrom\tstart\tend\tname\tscore\tstrand\tfold\n" + names)
    return path


def pileup(bam: Path, table: pd.DataFrame, quality: int) -> dict[int, Counter[str]]:
    """Bases of each site by samtools mpileup, as letters, of first mates alone (flag 0x80 is excluded)."""
    sites = bam.with_suffix(".sites")
    sites.write_text("".join(f"22\t{pos}\n" for pos in table["pos"]))
    said = subprocess.run(
        ["samtools", "mpileup", "-q", "30", "-Q", str(quality), "-A", "-B", "-x", "-d", "0", "--ff", "2948", "-l", sites, bam],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    found = {}
    for line in said.splitlines():
        fields = line.split("\t")
        bases = re.sub(r"\^.|\$", "", fields[4])
        bases = re.sub(r"[+-](\d+)", lambda match: "\0" + match[1] + "\0", bases)
        while "\0" in bases:
            before, size, after = bases.split("\0", 2)
            bases = before + after[int(size) :]
        found[int(fields[1])] = Counter(bases.upper())
    return found


@pytest.mark.skipif(not REAL.is_dir(), reason="Debian's drop-seq-testdata is not installed")
def test_real_reads_of_a_donor_are_counted_as_by_a_loop_over_reads(tmp_path: Path) -> None:
    donor = "HUES72_P20_150119"
    bam, vcf = real_donor(tmp_path, donor)
    bed = real_windows(tmp_path / "w.bed", 1000)
    summary = count_alleles([bam], [vcf], bed, tmp_path / "a", library="L", donor=donor, read_rules=ReadRules())
    counts, table = results(tmp_path / "a")
    windows = pd.read_csv(bed, sep="\t", dtype={"#chrom": str}).rename(columns={"#chrom": "chrom"})
    table["chrom"] = table["chrom"].astype(str)
    slow = slow_count(bam, vcf, donor, windows, table, umi=False)
    columns = ["ref_count", "alt_count", "other", "low_quality"]
    assert len(table) > 100
    assert {(row["chrom"], row["pos"]): [row[name] for name in columns] for _, row in table.iterrows()} == dict(
        slow.snvs
    )
    excluded = windows["name"].isin(summary["windows"]["excluded"]).to_numpy()
    np.testing.assert_array_equal(counts[~excluded], slow.counts[~excluded])


@pytest.mark.skipif(
    not REAL.is_dir() or shutil.which("samtools") is None, reason="needs Debian's drop-seq-testdata and samtools"
)
def test_real_reads_of_ten_donors_are_counted_as_by_a_pileup(tmp_path: Path) -> None:
    """Every base of every read at every heterozygous site of ten donors, against samtools mpileup."""
    bed, sites, reads = real_windows(tmp_path / "w.bed", 100_000), 0, 0
    for donor in real_donors():
        bam, vcf = real_donor(tmp_path, donor)
        count_alleles([bam], [vcf], bed, tmp_path / donor, library=donor, donor=donor, read_rules=ReadRules())
        _, table = results(tmp_path / donor)
        good, all_bases = pileup(bam, table, 20), pileup(bam, table, 0)
        for row in table.itertuples():
            bases = good.get(row.pos, Counter())
            letters = Counter({letter: bases[letter] for letter in "ACGT"})
            assert (row.ref_count, row.alt_count) == (letters.pop(row.ref), letters.pop(row.alt)), (donor, row.pos)
            assert row.other == letters.total()
            everything = sum(all_bases[row.pos][letter] for letter in "ACGTN")
            assert row.low_quality == everything - row.ref_count - row.alt_count - row.other
            reads += everything
        sites += len(table)
    assert sites > 1000 and reads > 2000


def test_the_counts_store_holds_the_alleles_of_its_libraries(cohorts: dict[str, Path], tmp_path: Path) -> None:
    folder = cohorts["clean"]
    reports = []
    for library in ("SIM0001_1", "SIM0003_1"):
        counted(folder, library, library[:7], tmp_path / library)
        reports.append(tmp_path / f"{library}.alleles.json")
    libraries = read_signal_sheet(folder / "signals.tsv")
    count_windows(folder / "windows.bed", libraries, tmp_path / "store", alleles=reports)
    store = CountsStore.open(tmp_path / "store")
    found = store.allelic()
    assert found is not None
    place = [library.name for library in libraries].index("SIM0003_1")
    np.testing.assert_array_equal(found[0][:, place], results(tmp_path / "SIM0003_1")[0])
    assert found[0].shape == (24, len(libraries), 2, 2) and found[0].sum(axis=(0, 2, 3)).astype(bool).sum() == 2
    # Reads of one SNV each: the orientation says on which haplotype the reference base is.
    np.testing.assert_array_equal(found[1][:, place], np.load(tmp_path / "SIM0003_1.reference.npy"))
    assert found[1].min() < -0.9 and found[1].max() > 0.9
    assert set(json.loads((tmp_path / "store" / "metadata.json").read_text())["allelic"]) == {"SIM0001_1", "SIM0003_1"}
    count_windows(folder / "windows.bed", libraries, tmp_path / "signal")
    assert CountsStore.open(tmp_path / "signal").allelic() is None
    np.save(tmp_path / "store" / "allelic.npy", found[0] + 1)
    with pytest.raises(DataError, match="was changed after counting"):
        CountsStore.open(tmp_path / "store").allelic()
    report = json.loads(reports[0].read_text())
    for change, said in (
        ({"donor": "X"}, "but library"),
        ({"windows_sha256": "0"}, "other windows"),
        ({"sha256": "0"}, "not the counts"),
    ):
        reports[0].write_text(json.dumps(report | change))
        with pytest.raises(DataError, match=said):
            count_windows(folder / "windows.bed", libraries, tmp_path / "no", alleles=reports)
