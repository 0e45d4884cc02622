"""Cohort QC against figures computed by hand from planted signal."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from allelegro.errors import DataError
from allelegro.inputs.excluded import read_excluded, write_excluded
from allelegro.io.bigwig import write_bigwig
from allelegro.io.metrics import read_metrics
from allelegro.io.signal import Counts
from allelegro.procap.counts import Library, count_windows
from allelegro.procap.qc import correlate, write_library_qc
from allelegro.procap.regions import read_tss

SIZES = {"chr1": 10_000, "chr2": 5_000}


def cohort(folder: Path) -> Path:
    """Two libraries of donor A and one of B: 60 reads in plus peaks, 30 in minus peaks, 10 elsewhere, times 1, 2 and 3."""
    folder.mkdir()
    (folder / "windows.bed").write_text(
        "#chrom\tstart\tend\tname\tscore\tstrand\tfold\n"
        + "".join(f"chr1\t{s}\t{s + 200}\tw{s}\t0\t.\t0\n" for s in (900, 1900, 4000))
    )
    libraries = []
    for factor, (name, donor) in enumerate((("a1", "A"), ("a2", "A"), ("b1", "B")), 1):
        plus = Counts(np.array([1000, 2000, 7000]), factor * np.array([40, 20, 5]))
        minus = Counts(np.array([950, 7000]), factor * np.array([30, 5]))
        write_bigwig(folder / f"{name}.plus.bw", SIZES, {"chr1": plus})
        write_bigwig(folder / f"{name}.minus.bw", SIZES, {"chr1": minus})
        (folder / f"{name}.peaks.bed").write_text(
            "#chrom\tstart\tend\tname\tscore\tstrand\tqvalue\treads\tsummit\n"
            "chr1\t990\t1010\tp1\t0\t+\t0\t40\t1000\nchr1\t1990\t2010\tp2\t0\t+\t0\t20\t2000\nchr1\t940\t960\tp3\t0\t-\t0\t30\t950\n"
        )
        (folder / f"{name}.elements.bed").write_text(
            "#chrom\tstart\tend\tname\tscore\tstrand\tplus_summit\tminus_summit\nchr1\t940\t1010\te\t0\t.\t1000\t950\n"
        )
        report = {
            "library": name,
            "steps": [{"step": "alignments", "reads": 200 * factor}, {"step": "MAPQ at least 30", "reads": 100 * factor}],
            "strands": {"plus": 65 * factor, "minus": 35 * factor},
            "five_prime": {"soft_clipped_one_g": 25 * factor, "soft_clipped_other": 0, "mismatched_g_moved": 0},
            "complexity": {"unit": "molecules", "reads": 100 * factor, "distinct": 80, "duplication": 0.2, "estimated_total": 400.5,
                           "curve": [[50, 45], [100, 80]], "histogram": [[1, 80]]},
        }  # fmt: skip
        (folder / f"{name}.qc.json").write_text(json.dumps(report))
        libraries.append(Library(name, donor, [(folder / f"{name}.plus.bw", folder / f"{name}.minus.bw")]))
    count_windows(folder / "windows.bed", libraries, folder / "counts")
    return folder


def donors_table(path: Path, library: str, donor: str, best: str) -> None:
    other = {"A": "B", "B": "A"}[best]
    word = "match" if donor == best else "swap"
    path.write_text(
        "library\tdonor\tcandidate\tsites\treads\tconcordance\tlog10_odds\tverdict\n"
        f"{library}\t{donor}\t{best}\t50\t99\t1\t40\t{word}\n{library}\t{donor}\t{other}\t50\t99\t0.6\t-40\t{word}\n"
    )


def test_figures_are_those_planted(tmp_path: Path) -> None:
    folder = cohort(tmp_path / "c")
    (folder / "tss.gtf").write_text(
        "#!x\nchr1\tX\tgene\t1\t9000\t.\t+\t.\tg\nchr1\tX\ttranscript\t1101\t9000\t.\t+\t.\tt\nchr1\tX\ttranscript\t10\t901\t.\t-\t.\tt\n"
    )
    assert (
        write_library_qc(folder / "counts", [folder], tmp_path / "qc", tss=folder / "tss.gtf", tss_distance=100) == []
    )
    libraries = pd.read_csv(tmp_path / "qc" / "libraries.tsv", sep="\t").set_index("library")
    first = libraries.loc["a1"]
    assert first["share_in_peaks"] == pytest.approx(0.9)
    assert first["divergent_share"] == pytest.approx(70 / 90)
    assert first["share_at_tss"] == pytest.approx(0.7)  # 1000 lies within 100 bp of 1100, 950 of 900
    assert first["share_in_windows"] == pytest.approx(0.9)
    assert first["share_counted"] == pytest.approx(0.5)
    assert first["plus_share"] == pytest.approx(0.65)
    assert first["share_clipped_g"] == pytest.approx(0.25)
    assert libraries["size_factor"].tolist() == pytest.approx((np.array([1, 2, 3]) / 6 ** (1 / 3)).tolist())
    assert libraries[["peaks", "elements"]].to_numpy().tolist() == [[3, 1]] * 3
    assert libraries["verdict"].isna().all()
    fates = pd.read_csv(tmp_path / "qc" / "read_fates.tsv", sep="\t")
    assert fates[fates["library"] == "a2"]["reads"].tolist() == [400, 200]
    replicates = pd.read_csv(tmp_path / "qc" / "replicates.tsv", sep="\t")
    assert replicates[["library_1", "library_2"]].to_numpy().tolist() == [["a1", "a2"]]
    assert replicates["pearson"].iloc[0] == pytest.approx(1)
    metrics = read_metrics([tmp_path / "qc" / "metrics.tsv"])
    assert set(metrics["stage"]) == {"procap"}
    one = metrics[(metrics["dataset"] == "b1") & (metrics["metric"] == "share_in_peaks")]
    assert one["value"].iloc[0] == pytest.approx(0.9)
    assert one["n"].iloc[0] == 300


def test_multiqc_files_are_valid_custom_content(tmp_path: Path) -> None:
    folder = cohort(tmp_path / "c")
    write_library_qc(folder / "counts", [folder], tmp_path / "qc")
    documents = {path.name: json.loads(path.read_text()) for path in (tmp_path / "qc" / "multiqc").glob("*_mqc.json")}
    assert {document["plot_type"] for document in documents.values()} == {"table", "bargraph", "linegraph", "heatmap"}
    assert documents["procap_read_fates_mqc.json"]["data"]["a1"] == {"lost at: MAPQ at least 30": 100, "counted": 100}
    assert documents["procap_complexity_mqc.json"]["data"]["b1"] == {"50": 45, "100": 80}
    assert documents["procap_correlation_mqc.json"]["xcats"] == ["a1", "a2", "b1"]


def test_swaps_are_reported_and_stop_only_when_asked(tmp_path: Path) -> None:
    folder = cohort(tmp_path / "c")
    for library, donor, best in (("a1", "A", "B"), ("a2", "A", "A"), ("b1", "B", "A")):
        donors_table(folder / f"{library}.donors.tsv", library, donor, best)
    lines = write_library_qc(folder / "counts", [folder], tmp_path / "qc")
    assert lines[0] == "library a1 is said to be of A but its reads are those of B: swapped with b1"
    libraries = pd.read_csv(tmp_path / "qc" / "libraries.tsv", sep="\t")
    assert libraries["verdict"].tolist() == ["swap", "match", "swap"]
    metrics = read_metrics([tmp_path / "qc" / "metrics.tsv"]).set_index("metric")
    assert metrics.loc["swapped_libraries", "value"] == 2
    with pytest.raises(DataError, match=r"library a1 is said to be of A but .*; correct the library sheet"):
        write_library_qc(folder / "counts", [folder], tmp_path / "stopped", stop_on_swap=True)
    assert (tmp_path / "stopped" / "donors.tsv").is_file()


def test_libraries_excluded_anywhere_are_listed(tmp_path: Path) -> None:
    folder = cohort(tmp_path / "c")
    write_excluded({"c1": "c1.bam: truncated"}, folder / "c1.excluded.tsv")
    libraries = [
        Library(name, "A", [(folder / f"{name}.plus.bw", folder / f"{name}.minus.bw")]) for name in ("a1", "d1")
    ]
    count_windows(folder / "windows.bed", libraries, folder / "counts", skip_bad_libraries=True)
    write_library_qc(folder / "counts", [folder], tmp_path / "qc")
    reasons = read_excluded([folder]) | {"d1": f"{folder / 'd1.plus.bw'}: no such file; check the path"}
    table = pd.read_csv(tmp_path / "qc" / "excluded.tsv", sep="\t")
    assert dict(zip(table["library"], table["reason"], strict=True)) == reasons
    metrics = read_metrics([tmp_path / "qc" / "metrics.tsv"]).set_index("metric")
    assert metrics.loc["libraries_left_out", ["value", "n"]].tolist() == [2, 3]


def test_absent_files_give_na_and_empty_peaks_give_zero(tmp_path: Path) -> None:
    folder = cohort(tmp_path / "c")
    (folder / "a1.peaks.bed").write_text("#chrom\tstart\tend\tname\tscore\tstrand\tqvalue\treads\tsummit\n")
    (folder / "a2.qc.json").unlink()
    (folder / "b1.plus.bw").unlink()
    write_library_qc(folder / "counts", [folder], tmp_path / "qc")
    libraries = pd.read_csv(tmp_path / "qc" / "libraries.tsv", sep="\t").set_index("library")
    assert libraries.loc["a1", ["peaks", "share_in_peaks"]].tolist() == [0, 0]
    assert np.isnan(libraries.loc["a2", "share_counted"])
    assert np.isnan(libraries.loc["b1", "share_in_peaks"])
    with pytest.raises(DataError, match="no such folder"):
        write_library_qc(folder / "counts", [tmp_path / "nowhere"], tmp_path / "qc")
    (folder / "a1.qc.json").write_text("{")
    with pytest.raises(DataError, match=r"a1.qc.json line 1: not valid JSON"):
        write_library_qc(folder / "counts", [folder], tmp_path / "qc")


def test_start_sites(tmp_path: Path) -> None:
    (tmp_path / "a.bed").write_text("c\t100\t200\tx\t0\t+\nc\t100\t200\ty\t0\t-\n")
    assert [part.tolist() for part in read_tss(tmp_path / "a.bed", 5, {"c": 900}).by_contig["c"]] == [
        [95, 194],
        [106, 205],
    ]
    (tmp_path / "bad.bed").write_text("c\tx\n")
    with pytest.raises(DataError, match=r"bad.bed line 1: not a BED line of contig, start and end"):
        read_tss(tmp_path / "bad.bed", 5, {"c": 900})
    (tmp_path / "none.gtf").write_text("#\n")
    with pytest.raises(DataError, match=r"none.gtf: no transcript, gene or BED line"):
        read_tss(tmp_path / "none.gtf", 5, {"c": 900})


def test_correlation_is_that_of_scipy() -> None:
    signal = np.random.default_rng(1).poisson(5, (300, 4)).astype(float)
    found = correlate(signal)
    assert found["pearson"][0, 2] == pytest.approx(
        stats.pearsonr(np.log2(1 + signal[:, 0]), np.log2(1 + signal[:, 2]))[0]
    )
    assert found["spearman"][1, 3] == pytest.approx(stats.spearmanr(signal[:, 1], signal[:, 3])[0])
    assert correlate(signal[:, :1])["pearson"].tolist() == [[1]]
