"""Reading a store: access, batches without copies, coordinates, export, summaries and the report."""

import errno
import os
import random
import subprocess
import sys
import tempfile
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest
from hypothesis import HealthCheck, given, settings

from allelegro.errors import DataError
from allelegro.genotype.relatedness import dosages
from allelegro.genotype.store import HaplotypeStore
from allelegro.genotype.summary import summarise_windows, write_summary
from allelegro.io.dna import decode, encode
from allelegro.io.metrics import read_metrics
from helpers.slow_haplotypes import Cohort, Record, cohorts, edits_of, extract, random_dna

BIN = Path(__file__).parents[2] / "bin"


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    rng = random.Random(5)
    genome = {"chr1": random_dna(rng, 3000), "chr2": random_dna(rng, 2000)}
    donors = [f"d{n}" for n in range(6)]
    records = []
    for chrom, sequence in genome.items():
        for pos in range(20, len(sequence) - 20, 13):
            ref = sequence[pos - 1 : pos + rng.choice([0, 0, 0, 0, 3])]
            alt = ref[0] + random_dna(rng, 2) if rng.random() < 0.1 else rng.choice([b for b in "ACGT" if b != ref[0]])
            alt = ref[0] if len(ref) > 1 else alt
            frequency = rng.random() ** 2
            calls = [f"{int(rng.random() < frequency)}|{int(rng.random() < frequency)}" for _ in donors]
            records.append(Record(pos, ref, alt, calls, chrom=chrom))
    windows = [("chr2", 700, 800), ("chr1", 50, 150), ("chr1", 100, 200), ("chr1", 1500, 1600), ("chr2", 0, 100)]
    return Cohort(genome, records, donors, windows)


@pytest.fixture(scope="module")
def store(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> HaplotypeStore:
    return extract(cohort, tmp_path_factory.mktemp("reader"))


def test_threads_and_order_of_windows_do_not_change_the_store(cohort: Cohort, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("allelegro.genotype.extract.INDEX_BUDGET", 6)  # a shard a window
    shards = extract(cohort, tmp_path / "shards")
    monkeypatch.undo()
    whole = extract(cohort, tmp_path / "whole")
    for name in ("sequences.npy", "index.npy", "offsets.npy", "donors.tsv"):
        assert shards.metadata["checksums"][name] == whole.metadata["checksums"][name], name
    assert shards.metadata["dropped"] == whole.metadata["dropped"]
    assert shards.metadata["alleles_read"] == whole.metadata["alleles_read"]
    assert sorted(map(tuple, shards.variants.to_numpy())) == sorted(map(tuple, whole.variants.to_numpy()))
    parallel = extract(cohort, tmp_path / "parallel", threads=2)
    assert parallel.metadata["checksums"] == whole.metadata["checksums"]


def test_text_beyond_the_budget_is_read_in_pieces(cohort: Cohort, tmp_path: Path, store, monkeypatch) -> None:
    monkeypatch.setattr("allelegro.genotype.shard.TEXT_BUDGET", 2000)
    pieces = extract(cohort, tmp_path)
    for name in ("sequences.npy", "index.npy", "donors.tsv"):
        assert pieces.metadata["checksums"][name] == store.metadata["checksums"][name]


def test_chosen_donors_keep_their_order(cohort: Cohort, tmp_path: Path, store: HaplotypeStore) -> None:
    chosen = extract(cohort, tmp_path, donors=["d4", "d1"])
    assert chosen.donors == ["d4", "d1"]
    for window in range(len(store)):
        assert (chosen.haplotypes(window) == store.haplotypes(window, np.array([4, 1]))).all()


def test_random_access_and_batches(store: HaplotypeStore) -> None:
    assert len(store) == 5
    distinct = store.distinct(3)
    assert np.shares_memory(distinct, store.sequences), "a view, not a copy"
    assert not distinct.flags.writeable
    windows, donors = np.array([3, 0, 3, 4]), np.array([5, 1, 0, 2])
    out = np.empty((4, 2, store.width), np.uint8)
    batch = store.haplotypes(windows, donors, out=out)
    assert batch is out
    for n, (window, donor) in enumerate(zip(windows, donors, strict=True)):
        for copy in range(2):
            assert (batch[n, copy] == store.distinct(window)[store.index[window, donor, copy]]).all()
    assert store.rows(2).shape == (6, 2)
    assert store.rows(np.arange(5), slice(None)).shape == (5, 6, 2)
    with pytest.raises(DataError, match="donor x is not in the store"):
        store.donor("x")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(cohorts())
def test_coordinates_on_random_variants(cohort: Cohort) -> None:
    """A base with a reference position outside every allele is the reference base; positions rise; the map inverts."""
    with tempfile.TemporaryDirectory() as folder:
        store = extract(cohort, Path(folder))
        for window, (chrom, start, end) in enumerate(cohort.windows):
            for row in range(store.offsets[window], store.offsets[window + 1]):
                positions, offsets = store.reference_positions(row), store.haplotype_offsets(row)
                shown = positions[positions >= 0]
                assert (np.diff(shown) > 0).all()
                edited = {p for a, b, _ in store.edits(row) for p in range(a, b)}
                sequence = decode(store.sequences[row])
                for base, position in zip(sequence, positions.tolist(), strict=True):
                    if position >= 0 and position not in edited:
                        assert base == cohort.genome[chrom][position]
                for n, offset in enumerate(offsets.tolist()):
                    assert offset == -1 or positions[offset] == start + n
                centre = start + (end - start) // 2
                if centre not in edited:
                    assert positions[(end - start) // 2] == centre


def test_flanks_are_the_sequence_of_wider_windows_and_n_beyond_the_contig(
    cohort: Cohort, store: HaplotypeStore, tmp_path: Path
) -> None:
    flanked = extract(cohort, tmp_path / "flanked", flank=30)
    assert (flanked.flank, flanked.width) == (30, store.width + 60)
    assert flanked.windows.equals(store.windows)
    inside = [window for window in cohort.windows if window[1] >= 30]
    wide = Cohort(cohort.genome, cohort.records, cohort.donors, [(c, a - 30, b + 30) for c, a, b in inside])
    expected = extract(wide, tmp_path / "wide")
    for place, window in enumerate(inside):
        mine = cohort.windows.index(window)
        assert (flanked.haplotypes(mine) == expected.haplotypes(place)).all()
        first = int(flanked.offsets[mine])
        assert (flanked.reference_positions(first) == expected.reference_positions(int(expected.offsets[place]))).all()
    edge = cohort.windows.index(("chr2", 0, 100))
    assert decode(flanked.distinct(edge)[0]) == "N" * 30 + cohort.genome["chr2"][:130]
    assert flanked.reference_positions(int(flanked.offsets[edge])).tolist() == [-1] * 30 + list(range(130))
    chosen = np.arange(len(store.variants))
    places = flanked.variants.merge(store.variants.reset_index(), on=["chrom", "pos", "ref", "alt"])["index"]
    assert sorted(places) == chosen.tolist()


def test_coordinates_of_a_deletion_and_an_insertion(tmp_path: Path) -> None:
    sequence = random_dna(random.Random(1), 60)
    deletion, insertion = (
        Record(22, sequence[21:25], sequence[21], ["1|0"]),
        Record(34, sequence[33], sequence[33] + "GG", ["1|0"]),
    )
    store = extract(Cohort({"chr1": sequence}, [deletion, insertion], ["d"], [("chr1", 20, 40)]), tmp_path)
    row = int(store.rows(0, 0)[0])
    assert store.reference_positions(row).tolist() == [
        17,
        18,
        19,
        20,
        21,
        25,
        26,
        27,
        28,
        29,
        30,
        31,
        32,
        33,
        -1,
        -1,
        34,
        35,
        36,
        37,
    ]
    assert store.haplotype_offsets(row).tolist() == [
        3,
        4,
        -1,
        -1,
        -1,
        5,
        6,
        7,
        8,
        9,
        10,
        11,
        12,
        13,
        16,
        17,
        18,
        19,
        -1,
        -1,
    ]
    assert store.reference_positions(0).tolist() == list(range(20, 40))


def test_window_summaries(store: HaplotypeStore) -> None:
    table = summarise_windows(store)
    for window in range(len(store)):
        pairs = store.index[window].tolist()
        assert table["distinct_haplotypes"][window] == len(store.distinct(window))
        assert table["heterozygosity"][window] == pytest.approx(np.mean([a != b for a, b in pairs]))
        rows = {row for pair in pairs for row in pair} - {0}
        assert table["private_haplotypes"][window] == sum(sum(row in pair for pair in pairs) == 1 for row in rows)
        assert table["reference_share"][window] == np.mean([row == 0 for pair in pairs for row in pair])


def test_dosages_are_those_of_the_vcf(cohort: Cohort, store: HaplotypeStore) -> None:
    snvs = np.flatnonzero((store.variants["ref"].str.len() == 1) & (store.variants["alt"].str.len() == 1))
    inside = [
        n
        for n in snvs
        if any(
            c == store.variants["chrom"][n] and s + 20 <= store.variants["start"][n] < e - 20
            for c, s, e in cohort.windows
        )
    ]
    found = dosages(store, np.array(inside))
    calls = {(r.chrom, r.pos, r.alt): [sum(map(int, call.split("|"))) for call in r.genotypes] for r in cohort.records}
    kept = {
        (c, d, h): edits_of(cohort.records, c, d, h, indels=True)
        for c in cohort.genome
        for d in range(6)
        for h in (0, 1)
    }
    compared = 0
    for n, dosage in zip(inside, found.tolist(), strict=True):
        row = store.variants.loc[n]
        overlapped = any(
            (row["start"], row["end"], row["bases"]) in kept[row["chrom"], d, h] for d in range(6) for h in (0, 1)
        )
        if overlapped:
            right = [
                sum((row["start"], row["end"], row["bases"]) in kept[row["chrom"], d, h] for h in (0, 1))
                for d in range(6)
            ]
            assert dosage == right
            compared += dosage == calls[row["chrom"], row["pos"], row["alt"]]
    assert compared > 5


def test_report(store: HaplotypeStore, tmp_path: Path) -> None:
    write_summary(store, tmp_path / "qc", -1, 0)
    metrics = read_metrics([tmp_path / "qc" / "metrics.tsv"]).set_index(["metric", "subset"])["value"]
    assert metrics["donors", "all"] == 6
    assert metrics["compression", "all"] == pytest.approx(60 / len(store.sequences))
    assert metrics["dropped_alleles", "overlapping"] == store.metadata["dropped"]["overlapping"]
    assert len(pd.read_csv(tmp_path / "qc" / "relatedness.tsv", sep="\t")) <= 15
    histogram = pd.read_csv(tmp_path / "qc" / "haplotypes_per_window.tsv", sep="\t")
    assert histogram["windows"].sum() == 5
    donors = pd.read_csv(tmp_path / "qc" / "donors.tsv", sep="\t")
    assert (donors["missingness"] == 0).all()
    assert ((donors["heterozygosity"] > 0) & (donors["heterozygosity"] < 1)).all()


def test_export(cohort: Cohort, store: HaplotypeStore, tmp_path: Path) -> None:
    command = [sys.executable, str(BIN / "export_haplotypes.py"), "--store", store.folder]
    fasta, summary = tmp_path / "out.fa.gz", tmp_path / "windows.tsv"
    more = ["--fasta", fasta, "--summary", summary, "--donors", "d3,d0", "--windows", "window3", "--windows", "window0"]
    subprocess.run([*command, *more], check=True)
    with pysam.FastxFile(str(fasta)) as file:
        records = [(entry.name, entry.sequence, entry.comment) for entry in file]
    assert [name for name, _, _ in records] == [f"window{w}|d{d}|{c}" for w in (3, 0) for d in (3, 0) for c in (1, 2)]
    assert records[0][2].startswith("chr1:1501-1600 row=")
    for name, sequence, _ in records:
        window, donor, copy = name.split("|")
        codes = store.haplotypes(int(window[-1]), int(donor[1:]))[int(copy) - 1]
        assert (encode(sequence) == codes).all()
    assert len(pd.read_csv(summary, sep="\t")) == 5
    subprocess.run([*command, "--fasta", tmp_path / "distinct.fa", "--distinct", "--windows", "window3"], check=True)
    distinct = (tmp_path / "distinct.fa").read_text().splitlines()[1::2]
    assert len(set(distinct)) == len(distinct) == len(np.unique(store.index[3]))
    refused = subprocess.run(
        [*command, "--fasta", tmp_path / "no.fa", "--windows", "nowhere"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "window nowhere is not in the store" in refused.stderr
    assert not (tmp_path / "no.fa").exists()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EACCES])
def test_without_shared_memory_one_process_does_it(
    cohort: Cohort, tmp_path: Path, store: HaplotypeStore, monkeypatch, caplog, number: int
) -> None:
    """As where /dev/shm is missing or nobody may write to it."""

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("allelegro.genotype.extract.ProcessPoolExecutor", refused)
    alone = extract(cohort, tmp_path, threads=2)
    assert "one process instead of 2" in caplog.text
    assert alone.metadata["checksums"] == store.metadata["checksums"]


def test_a_worker_that_is_killed_is_one_line(cohort: Cohort, tmp_path: Path, monkeypatch) -> None:
    class Killed(ProcessPoolExecutor):
        def submit(self, *_: object, **__: object) -> Future[None]:  # type: ignore[override]
            raise BrokenProcessPool("a process was terminated abruptly")

    monkeypatch.setattr("allelegro.genotype.extract.ProcessPoolExecutor", Killed)
    with pytest.raises(DataError, match="a worker process was killed"):
        extract(cohort, tmp_path, threads=2)
    assert not (tmp_path / "store").exists()
