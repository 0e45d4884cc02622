"""Merging peaks of libraries into windows with folds, and the two tools on the command line."""

import json
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from allelegro.cli.call_peaks import app as call_app
from allelegro.cli.merge_peaks import app as merge_app
from allelegro.errors import DataError
from allelegro.io.bigwig import write_bigwig
from allelegro.io.signal import Counts
from allelegro.io.windows import read_windows
from allelegro.procap.elements import ELEMENT_COLUMNS, pair_elements
from allelegro.procap.folds import CLIPNET_FOLDS, UNASSIGNED, assign_folds, clipnet_fold, fold_regions
from allelegro.procap.peaks import PEAK_COLUMNS, write_bed
from allelegro.procap.windows import Merged, contig_lengths, merge_peaks, read_sites

SIZES = {"chr1": 100_000, "chr2": 50_000}


def _library(folder: Path, name: str, *summits: tuple[str, int, int | None]) -> None:
    """Peak and element files; a summit is (chrom, plus, minus) with minus None for a lone plus-strand peak."""
    rows = []
    for rank, (chrom, plus, minus) in enumerate(summits):
        for at, strand in ((plus, "+"), (minus, "-")):
            if at is not None:
                rows.append((chrom, at - 5, at + 6, "", 50, strand, 10.0 ** (rank - 20), 100 - rank, at))
    peaks = pd.DataFrame(rows, columns=PEAK_COLUMNS)
    write_bed(peaks, folder / f"{name}.peaks.bed")
    write_bed(pair_elements(peaks, 300, 0), folder / f"{name}.elements.bed")


def _sheet(folder: Path, *libraries: tuple[str, str]) -> Path:
    rows = [f"{name}\t{donor}\t{name}.peaks.bed\t{name}.elements.bed\n" for name, donor in libraries]
    (folder / "peaks.tsv").write_text("library\tdonor\tpeaks\telements\n" + "".join(rows))
    return folder / "peaks.tsv"


def _merge(sheet: Path, width: int = 1000, min_donors: int = 2, n_folds: int = 2, gap: int = 0) -> Merged:
    return merge_peaks(sheet, SIZES, width, min_donors, "auto", n_folds, gap)


def test_support_is_counted_by_donor_and_windows_centre_on_the_consensus(tmp_path: Path) -> None:
    _library(tmp_path, "a1", ("chr1", 10_100, 10_000), ("chr1", 30_000, None), ("chr2", 20_000, None))
    _library(tmp_path, "a2", ("chr1", 10_100, 10_000), ("chr1", 30_000, None))
    _library(tmp_path, "b", ("chr1", 10_110, 10_010), ("chr2", 20_010, None))
    merged = _merge(_sheet(tmp_path, ("a1", "A"), ("a2", "A"), ("b", "B")))
    windows = merged.windows
    # 30,000 is seen in two libraries of one donor only; each donor weighs the same in the centre (10,050 and 10,060).
    assert windows[["chrom", "start", "end", "strand", "score"]].to_numpy().tolist() == [
        ["chr1", 9555, 10_555, ".", 2],
        ["chr2", 19_505, 20_505, "+", 2],
    ]
    assert merged.summary["dropped"]["too_few_donors"] == 1


def test_a_lone_summit_joins_the_element_it_belongs_to(tmp_path: Path) -> None:
    _library(tmp_path, "a", ("chr1", 10_100, 10_000), ("chr1", 40_000, None))
    _library(tmp_path, "b", ("chr1", 10_100, None), ("chr1", 40_000, None))
    windows = _merge(_sheet(tmp_path, ("a", "A"), ("b", "B"))).windows
    assert windows["start"].tolist() == [10_050 - 500, 40_000 - 500]
    assert windows["strand"].tolist() == [".", "+"]


def test_windows_stay_inside_contigs_and_apart_and_every_loss_is_counted(tmp_path: Path) -> None:
    sites = (
        ("chr1", 300, None),
        ("chr1", 5000, None),
        ("chr1", 5600, None),
        ("chr1", 20_000, None),
        ("chr2", 49_800, None),
    )
    _library(tmp_path, "a", *sites)
    _library(tmp_path, "b", *sites)
    _library(tmp_path, "c", ("chr1", 5600, None))
    merged = _merge(_sheet(tmp_path, ("a", "A"), ("b", "B"), ("c", "C")))
    assert merged.windows["start"].tolist() == [5100, 19_500]
    assert merged.summary["dropped"] == {
        "too_few_donors": 0, "beyond_contig_end": 2, "overlapping_a_stronger_window": 1, "between_folds": 0,
    }  # fmt: skip
    counts = [step["count"] for step in merged.summary["steps"]]  # type: ignore[attr-defined]
    assert counts == [11, 5, 5, 3, 2, 2]


def test_a_chain_of_sites_is_cut_at_its_widest_gap(tmp_path: Path) -> None:
    chain = [("chr1", at, None) for at in (1000, 1090, 1180, 1270, 1369, 1450, 1540, 1630)]
    _library(tmp_path, "a", *chain, ("chr2", 9000, None))
    loci = _merge(_sheet(tmp_path, ("a", "A")), min_donors=1, width=1000).loci
    assert loci["centre"].tolist() == [1135, 1495, 9000]


def test_one_donor_needs_the_support_of_one(tmp_path: Path) -> None:
    _library(tmp_path, "a", ("chr1", 10_000, None), ("chr1", 20_000, None))
    merged = _merge(_sheet(tmp_path, ("a", "A")))
    assert len(merged.windows) == 2
    assert merged.summary["min_donors"] == 1


def test_replicates_report_the_share_found_again_and_where_it_falls(tmp_path: Path) -> None:
    shared = [("chr1", 2000 * i, None) for i in range(1, 19)]
    _library(tmp_path, "a1", *shared, ("chr2", 10_000, None), ("chr2", 20_000, None))  # the two worst by q-value
    _library(tmp_path, "a2", *shared, ("chr2", 30_000, None), ("chr2", 40_000, None), ("chr2", 45_000, None))
    _library(tmp_path, "b", *shared[:9])
    metrics = pd.DataFrame(_merge(_sheet(tmp_path, ("a1", "A"), ("a2", "A"), ("b", "B")), min_donors=1).metrics)
    value = metrics.set_index(["dataset", "metric"])["value"]
    assert value["A", "reproducible_share"] == pytest.approx(18 / 20)
    assert value["A", "reproducible_loci"] == 20  # 2 of 20 missing is a tenth
    assert value["all", "between_donors_share"] == 1.0
    low, high = metrics.loc[0, ["ci_low", "ci_high"]]
    assert low < 0.9 < high


def test_problems_of_a_sheet_are_named(tmp_path: Path) -> None:
    _library(tmp_path, "a", ("chrX", 10_000, None))
    _library(tmp_path, "empty")
    with pytest.raises(DataError, match="contig chrX is not in the genome; it has"):
        _merge(_sheet(tmp_path, ("a", "A")))
    with pytest.raises(DataError, match="no library has a peak"):
        _merge(_sheet(tmp_path, ("empty", "A")))
    with pytest.raises(DataError, match="library a occurs twice"):
        _merge(_sheet(tmp_path, ("a", "A"), ("a", "B")))
    with pytest.raises(DataError, match=r"missing\.peaks\.bed: no such file"):
        _merge(_sheet(tmp_path, ("missing", "A")))
    _library(tmp_path, "a", ("chr1", 10_000, None))
    _library(tmp_path, "b", ("chr1", 20_000, None))
    with pytest.raises(DataError, match="no locus is found in 2 donors"):
        _merge(_sheet(tmp_path, ("a", "A"), ("b", "B")))


def test_an_empty_library_is_named_and_leaves_the_cohort_standing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _library(tmp_path, "a", ("chr1", 10_000, None), ("chr1", 20_000, None))
    _library(tmp_path, "empty")
    sites = read_sites(_sheet(tmp_path, ("a", "A"), ("empty", "B")), SIZES)
    assert len(sites) == 2
    assert "library empty has no peaks" in caplog.text


# ------------------------------------------------------------------------------------------------------------- folds


def _windows(*starts: tuple[str, int]) -> pd.DataFrame:
    return pd.DataFrame([(c, s, s + 100) for c, s in starts], columns=["chrom", "start", "end"])


def test_clipnet_folds_hold_every_autosome_once_with_either_name() -> None:
    assert sorted(CLIPNET_FOLDS) == list(range(1, 23))
    assert [clipnet_fold(name) for name in ("chr9", "13", "chr5", "chr8", "22")] == [0, 0, 1, 9, 5]
    assert {clipnet_fold(name) for name in ("chrX", "MT", "chr23", "chr01", "chr1_alt", "scaffold1")} == {UNASSIGNED}


def test_auto_takes_clipnet_only_where_no_fold_is_empty() -> None:
    whole = _windows(*((f"chr{number}", 500) for number in range(1, 23)), ("chrX", 500))
    fold, scheme = assign_folds(whole, "auto", 5, 0)
    assert scheme == "clipnet"
    assert fold.iloc[-1] == UNASSIGNED
    assert set(fold) == {UNASSIGNED, *range(10)}
    _, scheme = assign_folds(_windows(*(("chr22", 1000 * i) for i in range(20))), "auto", 5, 0)
    assert scheme == "blocks"


def test_blocks_are_contiguous_with_a_gap_inside_contigs_only() -> None:
    windows = _windows(*(("a", 1000 * i) for i in range(20)), *(("b", 1000 * i) for i in range(20)))
    fold, _ = assign_folds(windows, "blocks", 4, 3000)
    kept = windows[fold != UNASSIGNED]
    assert fold.tolist() == [0] * 8 + [-1] * 4 + [1] * 8 + [2] * 8 + [-1] * 4 + [3] * 8
    regions = fold_regions(kept.assign(fold=fold))
    assert regions == {0: [["a", 0, 7100]], 1: [["a", 12_000, 19_100]], 2: [["b", 0, 7100]], 3: [["b", 12_000, 19_100]]}


def test_blocks_that_cannot_be_filled_are_refused() -> None:
    windows = _windows(*(("a", 1000 * i) for i in range(6)))
    with pytest.raises(DataError, match="6 windows cannot fill 7 folds"):
        assign_folds(windows, "blocks", 7, 0)
    with pytest.raises(DataError, match="leaves fold 0 without windows"):
        assign_folds(windows, "blocks", 3, 10_000)


def test_contig_lengths_come_from_sizes_or_a_fasta_and_its_index(tmp_path: Path) -> None:
    fasta, sizes = tmp_path / "g.fa", tmp_path / "g.sizes"
    fasta.write_text(">a x\nACGT\nAC\n>b\nA\n")
    sizes.write_text("a\t6\nb\t1\n")
    assert contig_lengths(fasta, None) == contig_lengths(None, sizes) == {"a": 6, "b": 1}
    (tmp_path / "g.fa.fai").write_text("a\t7\t3\t4\t5\n")
    with pytest.raises(DataError, match=r"g\.fa\.fai: stale index"):
        contig_lengths(fasta, None)
    sizes.write_text("a\tlong\n")
    with pytest.raises(DataError, match=r"g\.sizes line 1"):
        contig_lengths(None, sizes)
    with pytest.raises(DataError, match="no such file"):
        contig_lengths(tmp_path / "none.fa", None)


# -------------------------------------------------------------------------------------------------------------- tools


def _signal(folder: Path) -> list[str]:
    rng = np.random.default_rng(1)
    paths = []
    for name, shift in (("plus", 50), ("minus", -50)):
        reads = np.rint(np.repeat(np.arange(5000, 95_000, 6000) + shift, 40) + rng.laplace(0, 4, 600)).astype(np.int64)
        position, count = np.unique(np.append(reads, rng.integers(0, 100_000, 100)), return_counts=True)
        write_bigwig(folder / f"{name}.bw", SIZES, {"chr1": Counts(position, count)})
        paths += [f"--{name}", str(folder / f"{name}.bw")]
    return paths


def test_tools_run_from_signal_to_windows(tmp_path: Path) -> None:
    outputs = ["--out", str(tmp_path / "a.peaks.bed"), "--out-elements", str(tmp_path / "a.elements.bed")]
    run = CliRunner().invoke(call_app, [*_signal(tmp_path), *outputs])
    assert run.exit_code == 0, run.output
    assert pd.read_csv(tmp_path / "a.elements.bed", sep="\t").columns.tolist() == ["#chrom", *ELEMENT_COLUMNS[1:]]
    (tmp_path / "sizes").write_text("".join(f"{name}\t{length}\n" for name, length in SIZES.items()))
    options = ["--sheet", str(_sheet(tmp_path, ("a", "A"))), "--chrom-sizes", str(tmp_path / "sizes"), "--n-folds", "3"]
    outputs = [word for name in ("out", "out-summary", "out-metrics") for word in (f"--{name}", str(tmp_path / name))]
    run = CliRunner().invoke(merge_app, [*options, *outputs, "--gap", "1000"])
    assert run.exit_code == 0, run.output
    windows = read_windows(tmp_path / "out")
    assert len(windows) == 15
    assert sorted(set(windows["fold"])) == [0, 1, 2]
    assert json.loads((tmp_path / "out-summary").read_text())["folds"]["scheme"] == "blocks"
    assert (tmp_path / "out-metrics").read_text().startswith("stage\tdataset")


def test_wrong_use_is_status_2(tmp_path: Path) -> None:
    run = CliRunner().invoke(merge_app, ["--sheet", "s", "--out", "o", "--out-summary", "j"])
    assert run.exit_code == 2
    assert CliRunner().invoke(call_app, [*_signal(tmp_path), "--out", "x"]).exit_code == 2


def test_truncated_input_leaves_no_output(tmp_path: Path) -> None:
    paths = _signal(tmp_path)
    whole = (tmp_path / "plus.bw").read_bytes()
    (tmp_path / "plus.bw").write_bytes(whole[: len(whole) // 2])
    run = CliRunner().invoke(call_app, [*paths, "--out", str(tmp_path / "p"), "--out-elements", str(tmp_path / "e")])
    assert isinstance(run.exception, (DataError, SystemExit))
    assert not (tmp_path / "p").exists()


def test_pints_answers_in_our_formats_and_its_absence_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = ["--out", str(tmp_path / "p.bed"), "--out-elements", str(tmp_path / "e.bed"), "--caller", "pints"]
    options = [*_signal(tmp_path), *outputs]
    monkeypatch.setenv("PATH", str(tmp_path))
    run = CliRunner().invoke(call_app, options)
    assert "pints_caller is not on PATH" in str(run.exception)
    tool = tmp_path / "pints_caller"
    pair = "chr1\\t4940\\t5060\\tStringent(qval)\\t5050,5052\\t4950\\n"
    tool.write_text(
        '#!/bin/sh\nwhile [ "$1" != --save-to ]; do shift; done\n'
        f'printf "{pair}" > "$2/pints_1_bidirectional_peaks.bed"\nprintf "{pair}" > "$2/pints_1_divergent_peaks.bed"\n'
        'printf "chr2\\t90\\t110\\tx\\t0.01\\t-\\t7\\t100\\t5\\n" > "$2/pints_1_unidirectional_peaks.bed"\n'
    )
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    run = CliRunner().invoke(call_app, options)
    assert run.exit_code == 0, run.output
    peaks, elements = (pd.read_csv(tmp_path / name, sep="\t") for name in ("p.bed", "e.bed"))
    assert peaks[["strand", "qvalue"]].to_numpy().tolist() == [["-", 0.1], ["+", 0.1], ["-", 0.01]]
    minus, plus = peaks.loc[0], peaks.loc[1]
    assert 4940 <= minus["start"] <= 4950 < minus["end"] <= 5001 <= plus["start"] <= 5050 < plus["end"] <= 5060
    assert 30 <= minus["reads"] <= 45
    assert elements.loc[0, "minus_summit"] == 4950
    assert elements.loc[0, "plus_summit"] in (5050, 5052)
