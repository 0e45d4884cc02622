"""Counts stores from tables of reads by element, in the layout of sl2665/procap-network."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from allelegro.cli.fetch_data import MANIFEST, main
from allelegro.errors import DataError
from allelegro.procap.counts import CountsStore
from allelegro.procap.element_counts import counts_from_tables, donor_of
from allelegro.training.cohort import load_profiles

NAMES = ["GM18505", "GM18520", "GM18505r", "GM19193r*"]
LENGTHS = {str(number): 900_000 for number in range(1, 23)} | {"X": 900_000}
ROWS = [(f"chr{contig}", 5_000 + 40_000 * k) for contig in (*range(22, 0, -1), "X") for k in range(3)]


def write_tables(folder: Path, rows: list[tuple[str, int]] = ROWS) -> np.ndarray:
    """The three files; returns reads ``[row, library]``."""
    folder.mkdir(parents=True, exist_ok=True)
    reads = np.random.default_rng(1).poisson(20, (len(rows), len(NAMES)))
    lines = [f"{chrom}\t{pos}\t" + "\t".join(map(str, row)) for (chrom, pos), row in zip(rows, reads, strict=True)]
    (folder / "Table.3a.procap.readcount.ambr.txt").write_text("\n".join(lines) + "\n")
    (folder / "procap.ambr.list.txt").write_text("\n".join(NAMES) + "\n")
    mapped = "\n".join(f"run{number},{name},{1000 * (number + 1)}" for number, name in enumerate(NAMES))
    (folder / "caplist.csv").write_text(f"name,id,mappedReads\n{mapped}\n")
    return reads


def make(folder: Path, **options: object) -> dict[str, str]:
    files = ("Table.3a.procap.readcount.ambr.txt", "procap.ambr.list.txt", "caplist.csv")
    given = {"lengths": LENGTHS, "donors": {"NA18505", "NA18520"}} | options
    return counts_from_tables(*(folder / name for name in files), folder / "counts", **given)  # type: ignore[arg-type]


def test_the_store_holds_the_table(tmp_path: Path) -> None:
    reads = write_tables(tmp_path)
    assert make(tmp_path) == {"GM19193r": "no genotypes of donor NA19193"}
    store = CountsStore.open(tmp_path / "counts", verify=True)
    assert store.libraries["library"].tolist() == ["GM18505", "GM18520", "GM18505r"]
    assert store.libraries["donor"].tolist() == ["NA18505", "NA18520", "NA18505"]
    assert store.libraries["total_reads"].tolist() == [1000, 2000, 3000]
    assert store.excluded == {"GM19193r": "no genotypes of donor NA19193"}
    expected = {
        (chrom.removeprefix("chr"), pos): row[:3]
        for (chrom, pos), row in zip(ROWS, reads.tolist(), strict=True)
        if chrom != "chrX"
    }
    places = zip(store.windows["chrom"], store.windows["start"] + 500, strict=True)
    for width in (None, 200):
        found = dict(zip(list(places), store.counts(width).sum(axis=2).tolist(), strict=True))
        assert found == expected
        places = iter(list(found))
    folds = store.windows.set_index("chrom")["fold"]
    assert (folds["9"] == 0).all() and (folds["22"] == 5).all()


def test_profiles_of_such_a_store_are_refused(tmp_path: Path) -> None:
    write_tables(tmp_path)
    make(tmp_path)
    store = CountsStore.open(tmp_path / "counts")
    assert not store.resolved
    with pytest.raises(DataError, match="without profiles; take CLIPNET"):
        store.profiles([0])
    with pytest.raises(DataError, match="without profiles"):
        load_profiles(tmp_path / "counts", None)  # type: ignore[arg-type]


def test_a_header_is_no_row_and_blanks_separate(tmp_path: Path) -> None:
    write_tables(tmp_path)
    table = tmp_path / "Table.3a.procap.readcount.ambr.txt"
    text = table.read_text()
    make(tmp_path)
    plain = (tmp_path / "counts/counts.npy").read_bytes()
    table.write_text(f'"chr" "pos" {" ".join(NAMES)}\n' + text.replace("\t", "  "))
    make(tmp_path)
    assert (tmp_path / "counts/counts.npy").read_bytes() == plain


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("Table.3a.procap.readcount.ambr.txt", "chr22\t5000\t", "chr22\t5000\t0.5\t", "row 1: 7 columns, expected 6"),
        (
            "Table.3a.procap.readcount.ambr.txt",
            "chr22\t45000\t",
            "chr22\t45000.5\t",
            "row 2, column position: not a whole",
        ),
        ("Table.3a.procap.readcount.ambr.txt", "chr22\t45000\t", "chr22\t5000\t", "22:5000 occurs twice"),
        ("procap.ambr.list.txt", "GM18520", "GM18505", "library GM18505 occurs twice"),
        ("caplist.csv", "GM18520", "GM1", "no mapped reads of library GM18520"),
        ("caplist.csv", "GM18520", "GM18505", "library GM18505 occurs twice"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    write_tables(tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message):
        make(tmp_path)
    assert not (tmp_path / "counts").exists()


def test_normalised_counts_are_refused_by_row_and_library(tmp_path: Path) -> None:
    reads = write_tables(tmp_path, ROWS[:2])
    table = tmp_path / "Table.3a.procap.readcount.ambr.txt"
    lines = table.read_text().splitlines()
    cells = lines[1].split("\t")
    cells[3] = "1.25"
    table.write_text("\n".join([lines[0], "\t".join(cells)]) + "\n")
    with pytest.raises(DataError, match=r"row 2, column GM18520: .*\('1.25'\)"):
        make(tmp_path)
    assert reads.shape == (2, 4)


def test_another_genome_and_other_donors_are_refused(tmp_path: Path) -> None:
    write_tables(tmp_path)
    with pytest.raises(DataError, match="give the genome of the table"):
        make(tmp_path, lengths={"scaffold1": 10_000})
    with pytest.raises(DataError, match="none of the donors"):
        make(tmp_path, donors={"D1"})


def test_donors_of_cell_lines() -> None:
    assert [donor_of(name) for name in ("GM18505", "GM18505r", "D1")] == ["NA18505", "NA18505", "D1"]


def test_fetched_tables_become_a_second_route(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mirror, out = tmp_path / "mirror", tmp_path / "data"
    write_tables(mirror / "procap_donors")
    (mirror / "procap_donors" / "genotype.var.txt").write_text("chr1\t5\t0\t1\t2\t0\n")
    (mirror / "genome").mkdir()
    genome = "".join(f">{name}\n{'A' * 100_000}\n" for name in LENGTHS)
    (mirror / "genome" / "hs37d5.fa.gz").write_bytes(gzip.compress(genome.encode()))
    main(out=out, dataset=["procap_donors", "genome_hg19"], manifest=MANIFEST, mirror=mirror, jobs=1)
    given = json.loads((out / "study_donors.json").read_text())
    assert given["counts"] == str(out / "procap_donors" / "counts") and "libraries" not in given
    assert "clipnet" not in given["models"].split(",") and given["genome"] == str(out / "genome" / "hs37d5.fa")
    assert set(CountsStore.open(Path(given["counts"]), verify=True).libraries["donor"]) == {"NA18505", "NA18520"}
    assert "-params-file" in capsys.readouterr().err
