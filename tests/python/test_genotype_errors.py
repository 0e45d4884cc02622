"""Bad input gives one line with file and position, and never a store."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pysam
import pytest

from allelegro.cli.common import read_names
from allelegro.errors import DataError
from allelegro.genotype.extract import Rules, extract_haplotypes
from allelegro.genotype.store import HaplotypeStore
from allelegro.io.vcf import IndexedVcf
from helpers.slow_haplotypes import Cohort, Record, write_windows

GENOME = "ACGTTGCAAGCTTACGGATCCATGACCTGATTTCAGGCTA" * 5
BIN = Path(__file__).parents[2] / "bin"


def cohort(folder: Path, *records: Record, **changes) -> Cohort:
    records = records or (Record(16, "G", "T", ["0|1", "1|0"]),)
    defaults = {"genome": {"chr1": GENOME}, "donors": ["d0", "d1"], "windows": [("chr1", 10, 20)]}
    return Cohort(records=list(records), **(defaults | changes)).write(folder)


def message(made: Cohort, donors: list[str] | None = None, **rules) -> str:
    out = made.paths["vcf"].parent / "store"
    with pytest.raises(DataError) as caught:
        extract_haplotypes([made.paths["vcf"]], made.paths["fasta"], made.paths["windows"], out, donors, Rules(**rules))
    assert not out.exists()
    assert not list(out.parent.glob(".partial*"))
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_reference_mismatch(tmp_path: Path) -> None:
    text = message(cohort(tmp_path, Record(16, "GGT", "T", ["0|1", "0|0"])))
    assert "variants.vcf.gz chr1:16 GGT T: REF is not the reference" in text
    assert "has GGA" in text
    assert "--on-ref-mismatch skip" in text


def test_unphased_heterozygote(tmp_path: Path) -> None:
    text = message(cohort(tmp_path, Record(16, "G", "T", ["0|1", "0/1"])))
    assert "chr1:16 G T: heterozygote of donor d1 is not phased" in text
    assert "--unphased reference or random" in text


def test_half_missing_unphased_call_is_an_unphased_heterozygote(tmp_path: Path) -> None:
    assert "not phased" in message(cohort(tmp_path, Record(16, "G", "T", ["./1", "0|0"])))


def test_window_beyond_the_contig(tmp_path: Path) -> None:
    text = message(cohort(tmp_path, windows=[("chr1", 0, 10), ("chr1", 195, 205)]))
    assert "windows.bed row 2: window chr1:196-205 ends beyond the contig, which has 200 bp" in text


def test_donor_named_twice_and_unknown_donor(tmp_path: Path) -> None:
    made = cohort(tmp_path)
    assert "donor d1 is named twice" in message(made, ["d1", "d0", "d1"])
    assert "donor x is not among its 2 samples" in message(made, ["d1", "x"])


def test_donor_twice_in_the_vcf(tmp_path: Path) -> None:
    made = cohort(tmp_path, donors=["d0", "d0"])
    assert "d0" in message(made)


def test_contigs_named_otherwise(tmp_path: Path) -> None:
    made = cohort(tmp_path, genome={"1": GENOME}, windows=[("1", 10, 20)])
    text = message(made)
    assert "no contig of the windows has records in" in text
    assert "prefix chr (here 1, there chr1)" in text or "it has" in text
    write_windows(made.paths["windows"], [("chr1", 10, 20)])
    assert "prefix chr (here chr1, there 1)" in message(made)


def test_unindexed_vcf(tmp_path: Path) -> None:
    made = cohort(tmp_path)
    Path(f"{made.paths['vcf']}.tbi").unlink()
    assert "no index (.tbi or .csi)" in message(made)


def test_plain_empty_missing_and_truncated_vcf(tmp_path: Path) -> None:
    made = cohort(tmp_path)
    path = made.paths["vcf"]
    whole = path.read_bytes()
    path.write_bytes(gzip.decompress(whole))
    assert "not bgzip-compressed" in message(made)
    path.write_bytes(b"")
    assert "the file is empty" in message(made)
    path.write_bytes(whole[:-40])
    assert "truncated" in message(made)
    path.unlink()
    assert "no such file" in message(made)


def test_unsorted_vcf_under_an_old_index(tmp_path: Path) -> None:
    made = cohort(tmp_path, Record(12, "T", "G", ["0|1", "0|0"]), Record(16, "G", "T", ["0|1", "0|0"]))
    path = made.paths["vcf"]
    lines = gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True)
    with pysam.BGZFile(str(path), "w") as handle:  # type: ignore[call-arg]
        handle.write("".join([*lines[:-2], lines[-1], lines[-2]]).encode())
    assert "not sorted by position" in message(made)


def test_damaged_genotypes(tmp_path: Path) -> None:
    assert "names no allele" in message(cohort(tmp_path / "a", Record(16, "G", "T", ["0|1", "0|2"])))
    assert "more than two alleles" in message(cohort(tmp_path / "b", Record(16, "G", "T", ["0|1", "0|1|1"])))
    assert "does not have the header's 2 sample columns" in message(
        cohort(tmp_path / "c", Record(16, "G", "T", ["0|1"]))
    )
    three = Record(16, "G", "T", ["0|1", "0|1", "0|0"])
    assert "does not have the header's 2 sample columns" in message(cohort(tmp_path / "d", three))
    assert "does not begin with GT" in message(cohort(tmp_path / "e", Record(16, "G", "T", ["3", "4"], format="DP")))
    assert "names no allele" in message(cohort(tmp_path / "f", Record(16, "G", "T", ["0|1", "x"])))


def test_vcf_without_samples(tmp_path: Path) -> None:
    made = cohort(tmp_path, donors=[])
    assert "no samples" in message(made) or "sample columns" in message(made)


def test_one_contig_in_two_files(tmp_path: Path) -> None:
    first, second = cohort(tmp_path / "a"), cohort(tmp_path / "b")
    with pytest.raises(DataError, match="contig chr1 is in"):
        extract_haplotypes(
            [first.paths["vcf"], second.paths["vcf"]], first.paths["fasta"], first.paths["windows"], tmp_path / "store"
        )


def test_one_bcf_a_chromosome(tmp_path: Path) -> None:
    """Their headers declare every contig; only records count."""
    genome = {"chr1": GENOME, "chr2": GENOME}
    records = Record(16, "G", "T", ["0|1", "1|0"]), Record(16, "G", "C", ["1|1", "0|0"], chrom="chr2")
    made = cohort(tmp_path, *records, genome=genome, windows=[("chr2", 10, 20), ("chr1", 10, 20)])
    parts = []
    for chrom in genome:
        parts.append(tmp_path / f"{chrom}.bcf")
        with (
            pysam.VariantFile(str(made.paths["vcf"])) as whole,
            pysam.VariantFile(str(parts[-1]), "wb", header=whole.header) as part,
        ):
            for record in whole.fetch(chrom):
                part.write(record)
        pysam.tabix_index(str(parts[-1]), preset="bcf", force=True)
    extract_haplotypes(parts, made.paths["fasta"], made.paths["windows"], tmp_path / "store")
    assert HaplotypeStore(tmp_path / "store").index.tolist() == [[[1, 1], [0, 0]], [[0, 1], [1, 0]]]


def test_a_folder_that_is_no_store_is_not_replaced(tmp_path: Path) -> None:
    made = cohort(tmp_path)
    with pytest.raises(DataError, match="is not replaced"):
        extract_haplotypes([made.paths["vcf"]], made.paths["fasta"], made.paths["windows"], tmp_path)
    assert made.paths["fasta"].is_file()


def test_contig_absent_from_the_vcf_is_the_reference_for_everyone(tmp_path: Path, caplog) -> None:
    made = cohort(tmp_path, genome={"chr1": GENOME, "chr2": GENOME}, windows=[("chr2", 0, 10), ("chr1", 10, 20)])
    extract_haplotypes([made.paths["vcf"]], made.paths["fasta"], made.paths["windows"], tmp_path / "store")
    assert "chr2: no variant records; its 1 windows are the reference for everyone" in caplog.text
    store = HaplotypeStore(tmp_path / "store")
    assert store.index[:, :, :].tolist() == [[[0, 0], [0, 0]], [[0, 1], [1, 0]]]


def test_a_store_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    made = cohort(tmp_path)
    out = tmp_path / "store"
    extract_haplotypes([made.paths["vcf"]], made.paths["fasta"], made.paths["windows"], out)
    HaplotypeStore(out).verify()

    def broken(change) -> str:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(out, copy)
        change(copy)
        with pytest.raises(DataError) as caught:
            HaplotypeStore(copy).verify()
        return str(caught.value)

    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)

    assert "no such haplotype store" in broken(shutil.rmtree)
    assert "no metadata.json" in broken(lambda store: (store / "metadata.json").unlink())
    assert "not of its recorded" in broken(lambda store: os.truncate(store / "sequences.npy", 140))
    assert "missing" in broken(lambda store: (store / "index.npy").unlink())
    assert "checksum differs" in broken(lambda store: flip(store / "sequences.npy"))
    assert "windows.bed: changed" in broken(lambda store: flip(store / "windows.bed"))
    assert "not the metadata" in broken(lambda store: (store / "metadata.json").write_text("{"))
    assert "version 99" in broken(
        lambda store: (store / "metadata.json").write_text(
            json.dumps(json.loads((store / "metadata.json").read_text()) | {"version": 99})
        )
    )


def test_metadata_of_another_kind_are_refused(tmp_path: Path) -> None:
    made = cohort(tmp_path)
    out = tmp_path / "store"
    extract_haplotypes([made.paths["vcf"]], made.paths["fasta"], made.paths["windows"], out)
    whole = json.loads((out / "metadata.json").read_text())
    wrong: dict[str, list[object]] = {
        "contigs": [5, {"chr1": ""}, {"chr1": -1}], "variants": [float("nan"), "9", True], "flank": [None, 1.5],
        "donors": [[1, 2], ["A", "A"], None], "width": [2**70, "x"], "sizes": [{"windows.bed": None}], "dropped": [[]],
        "genotypes": [{"called": "x"}], "alleles_read": [-1],
    }  # fmt: skip
    for key, values in wrong.items():
        for value in values:
            (out / "metadata.json").write_text(json.dumps(whole | {key: value}))
            with pytest.raises(DataError, match=f"metadata.json: '{key}' is missing or damaged"):
                HaplotypeStore(out)
    (out / "metadata.json").write_text(json.dumps(whole | {"contigs": {}}))
    with pytest.raises(DataError, match="the length of contig"):
        HaplotypeStore(out).reference_positions(0)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("index.npy", lambda array: array + 9, "index.npy: values out of range"),
        ("offsets.npy", lambda array: array[::-1], "offsets.npy: values out of range"),
        ("alleles.npy", lambda array: array + 7, "alleles.npy: values out of range"),
        ("alleles.npy", lambda array: array - 1, "alleles.npy: values out of range"),
        ("allele_offsets.npy", lambda array: array * 3, "allele_offsets.npy: values out of range"),
        ("index.npy", lambda array: array.astype(np.float64), "index.npy: float64 .* instead of"),
        ("index.npy", lambda array: array[:, :1], "index.npy: uint8 .* instead of"),
        ("sequences.npy", lambda array: array.ravel(), "sequences.npy: uint8 .* instead of"),
        ("sequences.npy", lambda array: np.array(["x"], object), "sequences.npy: missing, damaged or no array"),
    ],
)
def test_a_store_made_to_mislead_is_refused(
    tmp_path: Path, name: str, change: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    """Sizes and checksums are recorded again, as someone would who means harm."""
    made = cohort(tmp_path)
    out = tmp_path / "store"
    extract_haplotypes([made.paths["vcf"]], made.paths["fasta"], made.paths["windows"], out)
    HaplotypeStore(out, verify=True)
    np.save(out / name, change(np.load(out / name)), allow_pickle=True)
    metadata = json.loads((out / "metadata.json").read_text())
    metadata["sizes"][name] = (out / name).stat().st_size
    metadata["checksums"][name] = hashlib.sha256((out / name).read_bytes()).hexdigest()
    (out / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(DataError, match=message):
        HaplotypeStore(out, verify=True)


def test_a_killed_run_leaves_no_store(tmp_path: Path) -> None:
    made = cohort(tmp_path)
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from allelegro.genotype import extract, store\n"
        "store.StoreWriter.finish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"extract.extract_haplotypes([Path({str(made.paths['vcf'])!r})], Path({str(made.paths['fasta'])!r}), "
        f"Path({str(made.paths['windows'])!r}), Path({str(tmp_path / 'store')!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(BIN)}, check=False)
    assert done.returncode == -9
    assert not (tmp_path / "store").exists()
    for left in tmp_path.glob(".partial*"):
        with pytest.raises(DataError, match="not a whole haplotype store"):
            HaplotypeStore(left)


def test_workers_end_with_a_killed_run(tmp_path: Path) -> None:
    made = cohort(tmp_path, windows=[("chr1", start, start + 10) for start in range(0, 60, 10)])
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from allelegro.genotype import extract, store\n"
        "extract.INDEX_BUDGET = 2\n"  # a shard a window
        "store.StoreWriter.add = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"extract.extract_haplotypes([Path({str(made.paths['vcf'])!r})], Path({str(made.paths['fasta'])!r}), "
        f"Path({str(made.paths['windows'])!r}), Path({str(tmp_path / 'store')!r}), threads=2)\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(BIN)}, start_new_session=True
    )
    assert run.wait() == -9
    for _ in range(100):
        left = [process for process in Path("/proc").glob("[0-9]*") if session_of(process) == run.pid]
        if not left:
            break
        time.sleep(0.1)
    assert not left


def session_of(process: Path) -> int:
    """The session that a process belongs to; 0 when it has ended."""
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[3])


def test_command_line(tmp_path: Path) -> None:
    made = cohort(tmp_path, Record(16, "G", "T", ["0|1", "0/1"]))
    paths = made.paths
    command = [sys.executable, str(BIN / "extract_haplotypes.py"), "--vcf", paths["vcf"], "--fasta", paths["fasta"]]
    command += ["--windows", paths["windows"], "--out", tmp_path / "store"]
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1
    (tmp_path / "names.txt").write_text("d0\n")
    done = subprocess.run([*command, "--donors", tmp_path / "names.txt"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert HaplotypeStore(tmp_path / "store").donors == ["d0"]


def test_bcf_gives_the_same_store_as_vcf(tmp_path: Path) -> None:
    made = cohort(tmp_path, Record(12, "T", "G,TAA", ["2|1", ".|0"]), Record(16, "G", "T", ["0|1", "1/1"]))
    bcf = tmp_path / "variants.bcf"
    with (
        pysam.VariantFile(str(made.paths["vcf"])) as source,
        pysam.VariantFile(str(bcf), "wb", header=source.header) as to,
    ):
        for record in source:
            to.write(record)
    pysam.tabix_index(str(bcf), preset="bcf", force=True)
    stores = []
    for n, path in enumerate((made.paths["vcf"], bcf)):
        extract_haplotypes([path], made.paths["fasta"], made.paths["windows"], tmp_path / f"store{n}")
        stores.append(HaplotypeStore(tmp_path / f"store{n}"))
    for name in ("sequences.npy", "index.npy", "offsets.npy", "variants.tsv", "donors.tsv"):
        assert stores[0].metadata["checksums"][name] == stores[1].metadata["checksums"][name]
    assert IndexedVcf(bcf).is_bcf


def test_a_cohort_of_any_size_can_be_named_on_the_command_line() -> None:
    names = [f"NA{number:05d}" for number in range(2000)]
    assert read_names([",".join(names)]) == names
