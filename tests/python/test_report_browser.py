"""Tracks for a genome browser and the IGV session."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from allelegro.io.bigwig import BigWig
from allelegro.io.metrics import write_metrics
from allelegro.io.tables import write_table
from allelegro.report.browser import write_browser
from allelegro.report.build import build_report
from allelegro.report.results import Results

COVERAGE = {"library": "L1", "steps": [{"step": "kept", "reads": 5}], "dropped": {}}


def folder_of(root: Path) -> Path:
    """Two windows with predictions, saturation of one base, a benchmark, scored variants, one library."""
    windows = pd.DataFrame(
        {"#chrom": "chr1", "start": [1000, 1400], "end": [2000, 2400], "name": ["w0", "w1"], "score": 1.0, "strand": ".", "fold": [0, 1]}
    )  # fmt: skip
    write_table(windows, root / "procap" / "windows.bed")
    coverage = root / "procap" / "coverage"
    coverage.mkdir(parents=True)
    (coverage / "L1.qc.json").write_text(json.dumps(COVERAGE))
    evaluation = root / "training" / "evaluation"
    evaluation.mkdir(parents=True)
    predictions = pd.DataFrame(
        {"window": ["w0", "w0", "w1"], "donor": ["a", "b", "a"], "cell": "c", "fold": 0, "observed": [1.0, 3.0, 5.0], "legnet": [2.0, 2.0, np.nan]}
    )  # fmt: skip
    predictions.to_parquet(evaluation / "predictions.parquet")
    saturated = [
        ("w0", "chr1", 1501, "A", alt, "legnet", effect) for alt, effect in zip("CGT", (-1.0, -2.0, 0.0), strict=True)
    ]
    columns = ["region", "chrom", "pos", "ref", "alt", "model", "effect"]
    write_table(pd.DataFrame(saturated, columns=columns), root / "effects" / "saturation" / "saturation.tsv")
    scores = pd.DataFrame(
        {"chrom": "chr1", "pos": [1600, 1500, 1700], "ref": ["A", "AC", "G"], "alt": ["G", "A", "T"], "id": ["rs 1", ".", "."],
         "rank": [2, 1, np.nan], "best_score": [0.5, -1.0, np.nan], "best_model": ["legnet", "legnet", "."],
         "status": ["scored", "scored", "ref_mismatch"], "reason": ["", "", "REF differs"]}
    )  # fmt: skip
    write_table(scores, root / "effects" / "scores" / "mine.variants.tsv")
    return root


def test_tracks_hold_what_the_run_found(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "results")
    home = folder / "report" / "browser"
    tracks = write_browser(Results(folder), home, home)
    values = {}
    for name in ("observed.windows", "predicted.legnet.windows", "importance"):
        starts, ends, numbers = BigWig(home / f"{name}.bw").intervals("chr1")
        values[name] = {(int(starts.min()), int(ends.max())): sorted(set(numbers.tolist()))}
    assert values["observed.windows"] == {(1450, 1950): [2.0, 5.0]}  # the mean over donors, 100 bp at each centre
    assert values["predicted.legnet.windows"] == {(1450, 1550): [2.0]}
    assert values["importance"] == {(1500, 1501): [1.0]}
    rows = [line.split("\t") for line in (home / "mine.bed").read_text().splitlines()]
    assert [row[:4] for row in rows] == [
        ["chr1", "1499", "1501", "chr1:1,500_AC>A_-1.00"],
        ["chr1", "1599", "1600", "rs_1_+0.50"],
    ]
    assert [row[8] for row in rows] == ["47,127,193", "207,74,90"]
    assert {track.path for track in tracks} >= {"windows.bed", "mine.bed", "../../procap/coverage/L1.plus.bw"}


def test_session_opens_every_track_by_a_relative_path(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "results of & mine")
    (folder / "pipeline_info").mkdir()
    (folder / "pipeline_info" / "params.json").write_text(json.dumps({"genome": "/data/my genome.fa"}))
    report = build_report(folder, folder / "report", "t")
    session = report.parent / "browser" / "session.xml"
    root = ElementTree.parse(session).getroot()
    assert root.attrib["genome"] == "/data/my genome.fa" and root.attrib["locus"] == "chr1:1250-1750"
    paths = [resource.attrib["path"] for resource in root.iter("Resource")]
    assert paths == [track.attrib["id"] for track in root.iter("Track")]
    for path in paths:
        assert not Path(path).is_absolute()
        assert (session.parent / path).is_file() or path.startswith("../../procap/coverage/L1."), path
    html = report.read_text()
    assert 'id="browser"' in html and "browser/session.xml" in html


def test_sets_on_another_assembly_have_no_track(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "r")
    points = pd.DataFrame(
        {"chrom": ["chr1"], "pos": [5], "ref": ["A"], "alt": ["C"], "group": "", "measured": [1.0], "significant": [1]}
    )
    row = {
        "stage": "effects",
        "model": "legnet",
        "subset": "all",
        "metric": "pearson",
        "value": 0.5,
        "ci_low": 0.1,
        "ci_high": 0.6,
        "n": 9,
    }
    for name in ("here", "there"):
        write_table(points, folder / "effects" / "benchmarks" / f"{name}.points.tsv.gz")
        write_metrics([row | {"dataset": name}], folder / "effects" / "benchmarks" / f"{name}.metrics.tsv")
    sets = {"variant_sets": [{"name": "here", "genome": None}, {"name": "there", "genome": "/hg38.fa"}]}
    (folder / "inputs").mkdir()
    (folder / "inputs" / "inputs.json").write_text(json.dumps(sets))
    names = {track.path for track in write_browser(Results(folder), tmp_path / "b", tmp_path / "b")}
    assert "here.measured.bed" in names and "there.measured.bed" not in names


@pytest.mark.parametrize("part", ["effects/scores", "procap"])
def test_nothing_with_a_place_makes_no_session(tmp_path: Path, part: str) -> None:
    (tmp_path / "r" / part).mkdir(parents=True)
    assert write_browser(Results(tmp_path / "r"), tmp_path / "b", tmp_path / "b") == []
    assert not (tmp_path / "b").exists()
