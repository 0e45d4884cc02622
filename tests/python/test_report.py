"""The report: its structure, that every figure has data, and that it says what is missing or doubtful."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from allelegro.errors import DataError
from allelegro.io.tables import write_metrics, write_table
from allelegro.io.windows import write_windows
from allelegro.report.build import build_report
from allelegro.report.glossary import GLOSSARY

MODELS = {
    "legnet": "personal",
    "reference": "reference",
    "shuffled": "shuffled",
    "clipnet": "personal",
}  # and genotypes
CELL = "unseen_loci/unseen_donors"
WINDOWS, DONORS = 220, 12


def results_folder(folder: Path, *, donors: int = DONORS, shuffled_r: float = 0.01, parts: str = "pgte") -> Path:
    """A results folder with made-up numbers: ``parts`` picks procap, genotype, training and effects."""
    folder.joinpath("inputs").mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"D{i}" for i in range(donors)]
    if "p" in parts:
        coverage = folder / "procap" / "coverage"
        coverage.mkdir(parents=True)
        for name in names:
            steps = [{"step": "alignments", "reads": 900}, {"step": "kept", "reads": 700}]
            document = {"library": f"{name}_1", "steps": steps, "dropped": {"low MAPQ": 200}}
            (coverage / f"{name}_1.qc.json").write_text(json.dumps(document))
        starts = np.arange(WINDOWS) * 2000
        write_windows(
            pd.DataFrame(
                {
                    "chrom": "chr1",
                    "start": starts,
                    "end": starts + 1000,
                    "name": [f"w{i}" for i in range(WINDOWS)],
                    "score": 1,
                    "strand": ".",
                    "fold": np.arange(WINDOWS) % 10,
                }
            ),
            folder / "procap" / "windows.bed",
        )
    if "g" in parts:
        store = folder / "genotype" / "haplotypes"
        store.mkdir(parents=True)
        metadata = {
            "donors": names, "windows": WINDOWS, "width": 1000, "haplotypes": 2 * donors * WINDOWS, "distinct_haplotypes": 900,
            "variants": 800, "indels": "keep", "dropped": {"star": 1}, "genotypes": {"called": 9000, "missing": 2},
        }  # fmt: skip
        (store / "metadata.json").write_text(json.dumps(metadata))
        np.save(store / "offsets.npy", np.r_[0, np.cumsum(rng.integers(1, 9, WINDOWS))])
    if "t" in parts:
        _training(folder / "training", rng, names, shuffled_r)
    if "e" in parts:
        _effects(folder / "effects" / "benchmarks", rng)
    return folder


def _row(stage: str, dataset: str, model: str, subset: str, metric: str, value: float) -> dict[str, object]:
    return {
        "stage": stage, "dataset": dataset, "model": model, "subset": subset, "metric": metric, "value": value,
        "ci_low": value - 0.05, "ci_high": value + 0.05, "n": 100,
    }  # fmt: skip


def _training(folder: Path, rng: np.random.Generator, donors: list[str], shuffled_r: float) -> None:
    for name in MODELS:
        model = folder / "finetuned" / name
        model.mkdir(parents=True)
        training = {"genotypes": MODELS[name], "init": "pretrained", "test_fold": 0, "test_donors": donors[:2]}
        config = {"architecture": "clipnet" if name == "clipnet" else "legnet", "width": 230, "training": training}
        (model / "model.json").write_text(json.dumps(config))
        history = pd.DataFrame({"epoch": [1, 2], "train_loss": [2.0, 1.0], "loss": [2.1, 1.4]})
        write_table(history, model / "history.tsv")
    values = dict(zip(MODELS, (0.6, 0.5, shuffled_r, 0.4), strict=True))
    metrics = ("across_loci_r", "between_donors_r", "allele_effect_r")
    rows = [_row("training", "procap", name, CELL, metric, r) for name, r in values.items() for metric in metrics]
    rows.append(_row("training", "procap", "legnet - clipnet", CELL, "across_loci_r_difference", 0.2))
    rows.append(_row("training", "procap", "reference - shuffled", CELL, "between_donors_r_difference", -shuffled_r))
    write_metrics(rows, folder / "evaluation" / "metrics.tsv")
    observed = rng.lognormal(size=WINDOWS * len(donors))
    predictions = pd.DataFrame(
        {"window": np.repeat([f"w{i}" for i in range(WINDOWS)], len(donors)), "donor": np.tile(donors, WINDOWS),
         "fold": 0, "cell": CELL, "observed": observed}
        | {name: observed * rng.lognormal(size=observed.size) for name in MODELS}
    )  # fmt: skip
    predictions.to_parquet(folder / "evaluation" / "predictions.parquet")


def _effects(folder: Path, rng: np.random.Generator) -> None:
    truth = rng.normal(size=400)
    points = pd.DataFrame(
        {
            "chrom": "chr1",
            "pos": np.arange(400),
            "ref": "A",
            "alt": "C",
            "group": "",
            "measured": truth,
            "significant": 1,
        }
    )
    for name in MODELS:
        points[name] = truth + rng.normal(size=400)
    write_table(points, folder / "mpra.points.tsv.gz")
    rows = [_row("effects", "mpra", name, "all", metric, 0.5) for name in MODELS for metric in ("pearson", "auroc")]
    write_metrics(rows, folder / "mpra.metrics.tsv")


class Outline(HTMLParser):
    """Tags that must match, headings, anchors, links and the figures' drawings."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.figures = self.drawings = self.paths = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            assert given["id"] not in self.anchors, f"id {given['id']} stands twice"
            self.anchors.add(str(given["id"]))
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        self.figures += tag == "figure"
        self.paths += tag == "path"
        if tag == "svg":
            self.drawings += 1
            assert given.get("role") == "img" and given.get("aria-label")


def outline(html: str) -> Outline:
    parser = Outline()
    parser.feed(html)
    return parser


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    return build_report(results_folder(folder / "results"), folder / "report", "A run")


def test_structure_and_self_containment(whole: Path) -> None:
    html = whole.read_text()
    parsed = outline(html)
    assert {
        "summary",
        "schemes",
        "libraries",
        "peaks",
        "haplotypes",
        "training",
        "held-out",
        "effects",
        "methods",
        "glossary",
    } <= parsed.anchors
    assert parsed.figures == parsed.drawings >= 10
    for link in parsed.links:
        assert link[1:] in parsed.anchors if link.startswith("#") else (whole.parent / link).is_file(), link
    assert "<script" not in html and not re.search(r'(src|href)="https?:', html)
    assert len(html) < 5e6


def test_every_figure_has_data_and_a_drawing(whole: Path) -> None:
    figures = sorted(whole.parent.glob("figures/*.svg"))
    assert figures
    for figure in figures:
        table = pd.read_csv(whole.parent / "data" / f"{figure.stem}.tsv", sep="\t")
        assert not table.empty, figure.name
        assert figure.read_text().count("<path") > 3, figure.name


def test_forest_draws_the_metrics_it_was_given(whole: Path) -> None:
    table = pd.read_csv(whole.parent / "data" / "held-out-across-loci-r.tsv", sep="\t").set_index("label")
    assert table.loc["legnet", "value"] == 0.6
    assert table.loc["clipnet", "ci_high"] == pytest.approx(0.45)


def test_verdicts_follow_the_intervals(whole: Path) -> None:
    html = whole.read_text()
    assert "fine-tuned LegNet is better than CLIPNET" in html
    assert "The control holds" in html


def test_a_failed_control_stands_first(tmp_path: Path) -> None:
    html = build_report(results_folder(tmp_path / "r", shuffled_r=0.4), tmp_path / "out", "t").read_text()
    assert "The control failed" in html[: html.index('class="cards"')]


@pytest.mark.parametrize(
    ("parts", "missing"), [("p", "genotype"), ("pg", "fine-tuning"), ("pgt", "variant effects"), ("te", "PRO-cap")]
)
def test_a_skipped_stage_is_named(tmp_path: Path, parts: str, missing: str) -> None:
    html = build_report(results_folder(tmp_path / "r", parts=parts), tmp_path / "out", "t").read_text()
    assert f"The {missing} stage left no results" in html


def test_one_donor_is_said(tmp_path: Path) -> None:
    html = build_report(results_folder(tmp_path / "r", donors=1, parts="pg"), tmp_path / "out", "t").read_text()
    assert "Only one donor" in html


def test_every_metric_shown_is_defined() -> None:
    from allelegro.report.chapters.training import QUESTIONS

    assert {metric for metric, *_ in QUESTIONS} | {"pearson", "spearman", "sign_accuracy", "auroc", "auprc"} <= set(
        GLOSSARY
    )


def test_not_a_results_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a results folder"):
        build_report(tmp_path, tmp_path / "out", "t")
    assert not (tmp_path / "out").exists()


def test_damaged_json_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    folder = results_folder(tmp_path / "r", parts="pg")
    (folder / "genotype/haplotypes/metadata.json").write_text("{")
    with pytest.raises(DataError, match=r"metadata\.json line 1"):
        build_report(folder, tmp_path / "out", "t")
    assert not (tmp_path / "out").exists()
