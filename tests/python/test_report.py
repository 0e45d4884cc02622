"""The report: its structure, that every figure has data, and that it says what is missing or doubtful."""

import json
import os
import re
import shutil
from datetime import datetime
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from allelegro.effects.curves import curves_of
from allelegro.errors import DataError
from allelegro.genotype.store import HaplotypeStore
from allelegro.io.metrics import write_metrics
from allelegro.io.tables import write_table
from allelegro.procap.counts import CountsStore
from allelegro.report.build import build_report, collect
from allelegro.report.glossary import GLOSSARY
from allelegro.report.report import Table
from allelegro.report.results import Results
from allelegro.report.sections.loci import telling_loci
from helpers.toy_stores import Toy, make_toy, toy_windows

MODELS = {
    "legnet": "personal",
    "reference": "reference",
    "shuffled": "shuffled",
    "clipnet": "personal",
}  # and genotypes
CELL = "unseen_loci/unseen_donors"
WINDOWS, DONORS, WIDTH = 220, 12, 120


def results_folder(folder: Path, *, donors: int = DONORS, shuffled_r: float = 0.01, parts: str = "pgtesc") -> Path:
    """A results folder with made-up numbers: ``parts`` picks procap, genotype, training, effects, saturation and costs."""
    folder.joinpath("inputs").mkdir(parents=True)
    rng = np.random.default_rng(0)
    toy = make_toy(folder / "toy", loci=WINDOWS, donors=donors, second_libraries=0, depth=0.2)
    if "p" in parts:
        _procap(folder / "procap", toy)
    if "g" in parts:
        _genotype(folder / "genotype", toy)
    if "t" in parts:
        _training(folder / "training", rng, toy.donors, shuffled_r)
    if "e" in parts:
        _effects(folder / "effects", rng)
    if "s" in parts:
        _saturation(folder / "effects" / "saturation", toy)
    if "c" in parts:
        _costs(folder)
    shutil.rmtree(folder / "toy")
    return folder


def _procap(folder: Path, toy: Toy) -> None:
    coverage = folder / "coverage"
    coverage.mkdir(parents=True)
    for library in toy.libraries:
        steps = [{"step": "alignments", "reads": 900}, {"step": "kept", "reads": 700}]
        document = {"library": library, "steps": steps, "dropped": {"low MAPQ": 200}}
        (coverage / f"{library}.qc.json").write_text(json.dumps(document))
    shutil.copytree(toy.counts, folder / "counts")
    shutil.copy(toy.counts / "windows.bed", folder)


def _genotype(folder: Path, toy: Toy) -> None:
    """The toy's store; each window carries two changes near its centre (see ``helpers.toy_stores``)."""
    store = folder / "haplotypes"
    shutil.copytree(toy.haplotypes, store)
    windows = toy_windows(WINDOWS, WIDTH)
    rows = []
    for locus, window in windows.iterrows():
        for haplotype, offset in ((1, WIDTH // 2 + 3), (2, WIDTH // 2 + 10)):
            ref, alt = (int(toy.sequences[locus, row, offset]) for row in (0, haplotype))
            start = int(window["start"]) + offset
            rows.append((window["chrom"], start + 1, "ACGT"[ref], "ACGT"[alt], start, start + 1, "ACGT"[alt]))
    names = ["chrom", "pos", "ref", "alt", "start", "end", "bases"]
    write_table(pd.DataFrame(rows, columns=names), store / "variants.tsv")
    document = json.loads((store / "metadata.json").read_text()) | {
        "windows": WINDOWS, "haplotypes": 2 * len(toy.donors) * WINDOWS, "distinct_haplotypes": 4 * WINDOWS,
        "variants": 2 * WINDOWS, "indels": "keep", "dropped": {"star": 1}, "genotypes": {"called": 9000, "missing": 2},
    }  # fmt: skip
    (store / "metadata.json").write_text(json.dumps(document))


def _saturation(folder: Path, toy: Toy) -> None:
    """Two windows; changing a base costs as much as its place in the window, and to T twice as much."""
    windows = toy_windows(WINDOWS, WIDTH)
    rows = []
    for locus in (0, 4):
        for place in range(WIDTH // 2 - 10, WIDTH // 2 + 15):
            ref = "ACGT"[toy.sequences[locus, 0, place]]
            for alt in "ACGT".replace(ref, ""):
                effect = -place * (2 if alt == "T" else 1) / 100
                at = windows["start"][locus] + place + 1
                rows.append((f"w{locus}", windows["chrom"][locus], at, ref, alt, "legnet", effect, 0.0, 1.0))
    columns = ["region", "chrom", "pos", "ref", "alt", "model", "effect", "effect_sd", "ref_prediction"]
    write_table(pd.DataFrame(rows, columns=columns), folder / "saturation.tsv")


def _costs(folder: Path) -> None:
    columns = ["process", "tasks", "seconds", "longest_seconds", "cpu_seconds", "memory_mib", "gpu_memory_mib"]
    rows = [("CALL_PEAKS", 12, 60.0, 7.0, 55.0, 300, 0), ("FINETUNE_MODEL", 4, 4000.0, 1200.0, 3900.0, 2500, 900)]
    write_table(pd.DataFrame(rows, columns=columns), folder / "pipeline_info" / "costs.tsv")
    for name, seconds in (("one", 4.0), ("two", 8.0)):
        record = {
            "model": "legnet", "architecture": "legnet", "parameters": 1234567, "checkpoints": 2, "variants": 1000,
            "sequences": 4000, "seconds": seconds, "variants_per_second": 1000 / seconds, "peak_memory_mib": 512.0,
            "device_memory_mib": None, "threads": 4, "device": "cpu", "precision": "float32",
        }  # fmt: skip
        path = folder / "effects" / "scores" / f"{name}.legnet.cost.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record))
        counts = [("legnet", "scored", 1000, ""), ("legnet", "ref_mismatch", 2, "REF differs")]
        columns = ["model", "status", "variants", "reason"]
        write_table(pd.DataFrame(counts, columns=columns), path.with_name(f"{name}.counts.tsv"))


def _row(stage: str, dataset: str, model: str, subset: str, metric: str, value: float) -> dict[str, object]:
    return {
        "stage": stage, "dataset": dataset, "model": model, "subset": subset, "metric": metric, "value": value,
        "ci_low": value - 0.05, "ci_high": value + 0.05, "n": 100,
    }  # fmt: skip


def _training(folder: Path, rng: np.random.Generator, donors: list[str], shuffled_r: float) -> None:
    for name, fold in product(MODELS, (0, 1)):
        model = folder / "finetuned" / name / f"fold{fold}-seed1"
        model.mkdir(parents=True)
        training = {"genotypes": MODELS[name], "init": "pretrained", "test_fold": fold, "test_donors": donors[:2]}
        config = {"architecture": "clipnet" if name == "clipnet" else "legnet", "width": 230, "training": training}
        (model / "model.json").write_text(json.dumps(config))
        history = pd.DataFrame({"epoch": [1, 2], "train_loss": [2.0, 1.0], "loss": [2.1, 1.4]})
        write_table(history, model / "history.tsv")
    values = dict(zip(MODELS, (0.6, 0.5, shuffled_r, 0.4), strict=True))
    metrics = ("across_loci_r", "between_donors_r", "allele_effect_r")
    rows = [_row("training", "procap", name, CELL, metric, r) for name, r in values.items() for metric in metrics]
    rows.append(_row("training", "procap", "legnet - clipnet", CELL, "across_loci_r_difference", 0.2))
    rows.append(_row("training", "procap", "legnet - reference", CELL, "between_donors_r_difference", 0.1))
    rows.append(_row("training", "procap", "legnet - permuted_donors", CELL, "between_donors_r_difference", 0.55))
    rows.append(_row("training", "procap", "legnet - shuffled", CELL, "between_donors_r_difference", 0.6 - shuffled_r))
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
            "significant": (np.abs(truth) > 1).astype(int),
        }
    )
    for name in MODELS:
        points[name] = truth + rng.normal(size=400)
    folder = folder / "benchmarks"
    write_table(points, folder / "mpra.points.tsv.gz")
    given = [points[column].to_numpy(float) for column in ("measured", "significant")]
    curves = [curves_of(name, points[name].to_numpy(), *given) for name in MODELS]
    write_table(pd.concat(curves), folder / "mpra.curves.tsv")
    rows = [_row("effects", "mpra", name, "all", metric, 0.5) for name in MODELS for metric in ("pearson", "auroc")]
    rows.append(_row("effects", "mpra", "measured", "all", "significant_share", 0.3))  # of the measurements, no model
    write_metrics(rows, folder / "mpra.metrics.tsv")


class Outline(HTMLParser):
    """Tags that must match, headings, anchors, links and the figures' drawings."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.levels: list[int] = []
        self.figures = self.drawings = self.paths = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            assert given["id"] not in self.anchors, f"id {given['id']} is given twice"
            self.anchors.add(str(given["id"]))
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if re.fullmatch(r"h\d", tag):
            self.levels.append(int(tag[1]))
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
    assert parsed.figures == parsed.drawings >= 20
    assert parsed.levels[0] == 1 and max(np.diff(parsed.levels)) == 1, "headings must not skip a level"
    for link in parsed.links:
        assert link[1:] in parsed.anchors if link.startswith("#") else (whole.parent / link).is_file(), link
    assert not re.search(r'(src|href)="(https?:|//)', html) and "<script>" in html and "<script src" not in html
    assert len(html) < 5e6


def test_every_figure_has_data_and_a_drawing(whole: Path) -> None:
    figures = sorted(whole.parent.glob("figures/*.svg"))
    assert figures
    for figure in figures:
        table = pd.read_csv(whole.parent / "data" / f"{figure.stem}.tsv", sep="\t")
        assert not table.empty and not table.isna().all(axis=None), figure.name
        assert figure.read_text().count("<path") > 3, figure.name
        assert "<text" in figure.read_text(), f"{figure.name}: no axis says what it shows"


def test_forest_draws_the_metrics_it_was_given(whole: Path) -> None:
    table = pd.read_csv(whole.parent / "data" / "held-out-across-loci-r.tsv", sep="\t").set_index("label")
    assert table.loc["legnet", "value"] == 0.6
    assert table.loc["clipnet", "ci_high"] == pytest.approx(0.45)


def test_verdicts_follow_the_intervals(whole: Path) -> None:
    html = whole.read_text()
    assert "fine-tuned LegNet is better than CLIPNET" in html
    assert "The control holds" in html
    assert answers(html)["Do personal genomes help?"].startswith("Yes, against the reference genome.")
    assert "Personal − reference genome: difference of r +0.10, 95 % +0.05 to +0.15" in html
    assert "less itself with donors permuted: difference of r +0.55, 95 % +0.50 to +0.60" in html


def test_a_failed_control_comes_first(tmp_path: Path) -> None:
    html = build_report(results_folder(tmp_path / "r", shuffled_r=0.4), tmp_path / "out", "t").read_text()
    assert "The control failed" in html[: html.index('class="cards"')]


def answers(html: str) -> dict[str, str]:
    """The first page: question and answer."""
    found = re.findall(r"<dt>([^<]+)</dt><dd><b>(.*?)</dd></div>", html, re.DOTALL)
    return {question: text.replace("</b>", "") for question, text in found}


def test_the_first_page_answers_four_questions(whole: Path) -> None:
    html = whole.read_text()
    said = answers(html)
    assert list(said) == [
        "Do personal genomes help?", "Does LegNet beat CLIPNET?", "Which variants can be trusted?", "What was held out?",
    ]  # fmt: skip
    assert said["What was held out?"].startswith(f"{WINDOWS // 2} of {WINDOWS} windows and 2 of {DONORS} donors.")
    assert html.index("answers") < html.index('class="cards"')
    best = html[html.index("Best model of each benchmark") :]
    assert re.search(r"<td>mpra</td><td[^>]*>100</td><td>legnet</td>", best)


def effect_rows(reference: float, lentimpra: float, clipnet: float = 0.2) -> list[dict[str, object]]:
    """Differences of the personal model on a benchmark, each with an interval of ± 0.05, right signs by strength, baselines."""
    rows = [
        _row("effects", "mpra", "legnet", "all", f"pearson_minus_{other}", value)
        for other, value in (("reference", reference), ("pretrained_cell", lentimpra), ("clipnet", clipnet))
    ]
    for fifth, share in ((1, 0.5), (5, 0.8)):
        rows.append(_row("effects", "mpra", "legnet", f"strength_{fifth}_of_5", "sign_accuracy", share))
    for model, metric, value in (
        ("majority", "sign_accuracy", 0.6),
        ("distance", "auroc", 0.55),
        ("kmer", "pearson", 0.3),
    ):
        rows.append(_row("effects", "mpra", f"baseline_{model}", "all", metric, value))
    rows += [_row("effects", "mpra", "legnet", where, "pearson", r) for where, r in (("near", 0.7), ("far", 0.1))]
    return rows


def with_pretraining(folder: Path) -> Path:
    model = folder / "training" / "pretrained" / "cell" / "seed1"
    model.mkdir(parents=True)
    config = {"architecture": "legnet", "width": 230, "training": {"genotypes": None, "init": None, "test_fold": 0}}
    (model / "model.json").write_text(json.dumps(config))
    write_table(pd.DataFrame({"epoch": [1], "loss": [1.0]}), model / "history.tsv")
    return folder


@pytest.mark.parametrize(
    ("reference", "lentimpra", "answer"),
    [
        (0.1, 0.1, "Yes."),
        (0.1, 0.0, "In part: more than the reference genome, not measurably more than lentiMPRA alone."),
        (0.1, -0.1, "In part: more than the reference genome, less than lentiMPRA alone."),
        (0.0, 0.1, "No: more than lentiMPRA alone, but not measurably more than the reference genome."),
        (0.0, 0.0, "Not measurably."),
        (-0.1, 0.0, "No, they harm."),
    ],
)
def test_personal_genomes_are_judged_by_both_controls(
    tmp_path: Path, reference: float, lentimpra: float, answer: str
) -> None:
    folder = with_pretraining(results_folder(tmp_path / "r", parts="pgt"))
    write_metrics(effect_rows(reference, lentimpra), folder / "effects" / "benchmarks" / "mpra.metrics.tsv")
    report = collect(Results(folder))
    assert report.answers[0].answer == answer
    assert f"Personal − lentiMPRA only: difference of r {lentimpra:+.2f}" in report.answers[0].because
    assert "majority sign is right for 60%" in report.answers[2].because
    assert "near r = 0.70 (95 % 0.65 to 0.75, n = 100), far r = 0.10" in report.answers[2].because
    tables = [block for section in report.sections for block in section.blocks if isinstance(block, Table)]
    shown = next(table for table in tables if table.title.startswith("mpra: every model and baseline"))
    assert {"baseline_majority", "baseline_distance", "baseline_kmer"} <= set(shown.rows["model"])


def test_figures_without_an_interval_lead_to_no_verdict(tmp_path: Path) -> None:
    """Of fewer than ten donors differences between them have no interval."""
    folder = results_folder(tmp_path / "r", parts="t")
    path = folder / "training" / "evaluation" / "metrics.tsv"
    table = pd.read_csv(path, sep="\t", keep_default_na=False)
    of = table["metric"].str.startswith("between_donors_r")
    table.loc[of, ["ci_low", "ci_high"]] = np.nan
    write_table(table, path)
    report = collect(Results(folder))
    personal = report.answers[0]
    assert personal.answer == "Cannot be said: the differences have no interval."
    assert "difference of r +0.10, no interval: fewer than 10 donors" in personal.because
    assert (
        "r = 0.60 (no interval: fewer than 10 donors, n = 100), from which nothing can be concluded" in personal.because
    )
    evidence = next(table for table in report.evidence if table.title.startswith("The comparisons"))
    between = evidence.rows[evidence.rows["metric"] == "between_donors_r"]
    assert len(between) and set(between["conclusion"]) == {"no interval: fewer than 10 donors"}
    html = build_report(folder, tmp_path / "out", "t").read_text()
    assert "The control holds" not in html and "from shuffled genotypes cannot be judged" in html


def test_the_mean_with_lentimpra_is_among_the_comparisons(tmp_path: Path) -> None:
    folder = with_pretraining(results_folder(tmp_path / "r", parts="pgt"))
    mixed, control = "legnet + pretrained_cell", "reference + pretrained_cell"
    rows = [*effect_rows(0.1, 0.1), _row("effects", "mpra", "legnet", "all", "pearson", 0.5)]
    rows.append(_row("effects", "mpra", mixed, "all", "pearson", 0.9))
    rows += [
        _row("effects", "mpra", mixed, "all", f"pearson_minus_{other}", value)
        for other, value in (("pretrained_cell", 0.2), (control, 0.02))
    ]
    write_metrics(rows, folder / "effects" / "benchmarks" / "mpra.metrics.tsv")
    report = collect(Results(folder))
    told, best = (
        next(table.rows for table in report.evidence if title in table.title)
        for title in ("The comparisons", "Best model")
    )
    found = told.set_index("comparison")["conclusion"]
    assert found["(personal + lentiMPRA) − lentiMPRA only"] == "better"
    assert found["(personal + lentiMPRA) − (reference + lentiMPRA)"] == "no difference"
    assert best["best model"].tolist() == ["legnet"]


def test_a_comparator_that_did_not_learn_is_said_not_to_have_learned(tmp_path: Path) -> None:
    folder = results_folder(tmp_path / "r", parts="t")
    path = folder / "training" / "evaluation" / "metrics.tsv"
    table = pd.read_csv(path, sep="\t", keep_default_na=False)
    of = (table["model"] == "clipnet") & (table["metric"] == "across_loci_r")
    table.loc[of, ["value", "ci_low", "ci_high"]] = [0.01, -0.2, 0.3]
    write_table(table, path)
    for config in folder.glob("training/finetuned/clipnet/*/model.json"):
        document = json.loads(config.read_text())
        document["training"]["epochs"] = 2
        config.write_text(json.dumps(document))
    said = answers(build_report(folder, tmp_path / "out", "t").read_text())["Does LegNet beat CLIPNET?"]
    assert said.startswith("Cannot be said: CLIPNET did not learn here.")
    assert "2 epochs, where its authors allow 200" in said


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"departures": ["clipnet_jitter 0, published: 250"]}, "Its recipe was shortened: jitter 0 (published 250)."),
        ({"departures": [], "ended_by": "patience", "epochs": 2}, ""),
        ({"departures": [], "ended_by": "epochs", "epochs": 2}, "Its recipe was shortened: 2 epochs"),
    ],
)
def test_what_was_cut_of_the_published_recipe_is_said(tmp_path: Path, said: dict[str, object], expected: str) -> None:
    folder = results_folder(tmp_path / "r", parts="t")
    for config in folder.glob("training/finetuned/clipnet/*/model.json"):
        document = json.loads(config.read_text())
        document["training"] |= said
        config.write_text(json.dumps(document))
    because = collect(Results(folder)).answers[1].because
    assert expected in because and ("shortened" in because) == bool(expected)


def test_title_note_and_date_of_the_run(tmp_path: Path) -> None:
    folder = results_folder(tmp_path / "r", parts="p")
    parameters = folder / "pipeline_info" / "params.json"
    parameters.parent.mkdir()
    parameters.write_text("{}")
    os.utime(parameters, (1e9, 1e9))
    html = build_report(folder, tmp_path / "out", "Our <run>", "Second batch & more").read_text()
    head = html[html.index("<header>") : html.index("</header>")]
    assert "<h1>Our &lt;run&gt;</h1>" in head and "<p>Second batch &amp; more</p>" in head
    assert f"run of {datetime.fromtimestamp(1e9):%d %B %Y}" in head


def test_data_that_were_not_used_are_not_cited(whole: Path, tmp_path: Path) -> None:
    assert "Tewhey" not in whole.read_text() and "Kristj" not in whole.read_text()
    folder = results_folder(tmp_path / "r", parts="pe")
    files = {"libraries": [{"library": "L", "plus": ["/data/GSE110638/L.plus.bw"]}]}
    (folder / "inputs" / "inputs.json").write_text(json.dumps(files))
    html = build_report(folder, tmp_path / "out", "t").read_text()
    assert "Kristj" in html and "Tewhey" not in html


@pytest.mark.parametrize("unit", ["molecules", "5' positions"])
def test_duplication_is_shown_where_molecules_are_known(tmp_path: Path, unit: str) -> None:
    folder = results_folder(tmp_path / "r", parts="p")
    table = {"library": ["L"], "unit": [unit], "duplication": [0.123]}
    write_table(pd.DataFrame(table), folder / "procap" / "qc" / "libraries.tsv")
    html = build_report(folder, tmp_path / "out", "t").read_text()
    assert ("0.123" in html) == (unit == "molecules")


@pytest.mark.parametrize(
    ("parts", "missing"), [("p", "genotypes"), ("pg", "fine-tuning"), ("pgt", "variant effects"), ("te", "PRO-cap")]
)
def test_a_skipped_stage_is_named(tmp_path: Path, parts: str, missing: str) -> None:
    html = build_report(results_folder(tmp_path / "r", parts=parts), tmp_path / "out", "t").read_text()
    assert f"The {missing} stage left no results" in html


def test_what_a_run_was_without_is_said_and_no_warning(tmp_path: Path) -> None:
    folder = results_folder(tmp_path / "r", parts="p")
    rows = [["stage", "runs", "why_not"], ["PRO-cap", "yes", ""], ["genotypes", "no", "no --variants or --haplotypes"]]
    (folder / "pipeline_info").mkdir(exist_ok=True)
    (folder / "pipeline_info" / "stages.tsv").write_text("\n".join("\t".join(row) for row in rows) + "\n")
    html = build_report(folder, tmp_path / "out", "t").read_text()
    assert "this run: PRO-cap; not in it: genotypes (no --variants or --haplotypes)" in html
    assert "The genotypes stage left no results" not in html and "The fine-tuning stage left no results" in html


@pytest.mark.parametrize("parts", ["pg", "pgtesc"])
def test_one_donor_is_said(tmp_path: Path, parts: str) -> None:
    html = build_report(results_folder(tmp_path / "r", donors=1, parts=parts), tmp_path / "out", "t").read_text()
    assert "Only one donor" in html
    assert ("all donors, who have one sequence here" in html) == (parts == "pgtesc")


def test_what_was_not_made_is_said_in_its_place(tmp_path: Path) -> None:
    """No benchmark, no saturation, no costs: each place says so, and loci are shown all the same."""
    folder = results_folder(tmp_path / "r", parts="pgt")
    _costs(folder)
    (folder / "pipeline_info" / "costs.tsv").unlink()
    html = build_report(folder, tmp_path / "out", "t").read_text()
    for said in (
        "No benchmark of variant effects ran", "Variants were scored: one by legnet, two by legnet", "No saturation mutagenesis was made",
        "What the tasks took was not recorded", "Parameters were not recorded",
    ):  # fmt: skip
        assert said in html
    assert "initiation by genotype" in html


def test_a_benchmark_without_points_or_values_is_no_empty_plot(tmp_path: Path) -> None:
    folder = results_folder(tmp_path / "r", parts="te")
    (folder / "effects" / "benchmarks" / "mpra.points.tsv.gz").unlink()
    rows = [_row("effects", "few", "legnet", "all", "pearson", float("nan")) | {"n": 3}]
    write_metrics(rows, folder / "effects" / "benchmarks" / "few.metrics.tsv")
    report = build_report(folder, tmp_path / "out", "t")
    figures = {path.stem for path in report.parent.glob("figures/*.svg")}
    assert {name for name in figures if name.startswith("effects-")} == {"effects-all", "effects-mpra-pearson"}
    assert "few: fewer than 10 variants" in report.read_text()


def test_libraries_excluded_are_warned_of(tmp_path: Path) -> None:
    folder = results_folder(tmp_path / "r", parts="p")
    rows = pd.DataFrame({"library": ["bad_1"], "reason": ["bad.bam: the file is truncated, copy it again"]})
    write_table(rows, folder / "procap" / "qc" / "excluded.tsv")
    html = build_report(folder, tmp_path / "out", "t").read_text()
    assert "1 of the libraries could not be used and were excluded (bad_1)" in html[: html.index('class="cards"')]
    assert "the file is truncated, copy it again" in html


def test_variants_that_models_saw_are_warned_of(tmp_path: Path) -> None:
    folder = results_folder(tmp_path / "r", parts="e")
    path = folder / "effects" / "benchmarks" / "mpra.points.tsv.gz"
    points = pd.read_csv(path, sep="\t", keep_default_na=False)
    write_table(points.assign(seen=np.where(np.arange(len(points)) < 30, "yes", "no")), path)
    (folder / "pipeline_info").mkdir()
    (folder / "pipeline_info" / "params.json").write_text(json.dumps({"score_seen": True}))
    report = collect(Results(folder))
    assert any("30 of 400 variants of mpra are where a model was trained" in warning for warning in report.warnings)
    assert any("--score_seen" in warning for warning in report.warnings)


def test_tracks_are_the_mean_of_the_donors_of_a_genotype(whole: Path) -> None:
    """Against the counts store's own numbers, library by library."""
    results = whole.parents[1] / "results"
    drawn = pd.read_csv(whole.parent / "data" / "locus-w0.tsv", sep="\t")
    store = CountsStore.open(results / "procap" / "counts")
    haplotypes = HaplotypeStore(results / "genotype" / "haplotypes")
    size = store.libraries["size_factor"] / store.libraries["size_factor"].mean()
    million = size * store.libraries["total_reads"].mean() / 1e6
    effect = [
        (WIDTH // 2 + 3) * (1 + (haplotypes.variants["alt"][0] == "T")),
        (WIDTH // 2 + 10) * (1 + (haplotypes.variants["alt"][1] == "T")),
    ]
    chosen = int(np.argmax(effect))  # the change that the saturation table gives the larger effect
    variant = haplotypes.variants.iloc[chosen]
    carried = np.isin(haplotypes.index[0], [chosen + 1, 3]).sum(axis=1)
    for copies, label in enumerate(("{ref}/{ref}", "{ref}/{alt}", "{alt}/{alt}")):
        donors = np.flatnonzero(carried == copies)
        if not len(donors):
            continue
        expected = np.mean([store.profiles([0])[0, d, 0] / million[d] for d in donors], axis=0)
        rows = drawn[(drawn["track"] == "plus") & (drawn["genotype"] == label.format(**variant[["ref", "alt"]]))]
        offsets = rows["position"].to_numpy(int) - 1 - int(store.windows["start"][0])
        assert rows["value"].to_numpy() == pytest.approx(expected[offsets], rel=1e-5)


def test_logo_heights_are_minus_the_mean_effect(whole: Path) -> None:
    table = pd.read_csv(whole.parent / "data" / "saturation-w4.tsv", sep="\t")
    place = table["pos"] - 1 - toy_windows(WINDOWS, WIDTH)["start"][4]
    doubled = np.where(table["ref"] == "T", 1, 4 / 3)
    assert table["importance"].to_numpy() == pytest.approx(place.to_numpy() * doubled / 100)


def test_benchmark_curves_are_drawn_as_written(whole: Path) -> None:
    written = pd.read_csv(whole.parents[1] / "results/effects/benchmarks/mpra.curves.tsv", sep="\t").set_index("model")
    for name, curve in (("sign", "right_sign"), ("calibration", "calibration")):
        drawn = pd.read_csv(whole.parent / "data" / f"effects-mpra-{name}.tsv", sep="\t").set_index("series")
        for model in MODELS:
            rows = written.loc[model]
            assert drawn.loc[model, "y"].tolist() == rows.loc[rows["curve"] == curve, "y"].tolist()
    scatter = pd.read_csv(whole.parent / "data" / "effects-mpra-scatter.tsv", sep="\t")
    assert set(scatter["panel"]) == set(MODELS)
    ranked = pd.read_csv(whole.parent / "data" / "effects-mpra-ranking.tsv", sep="\t")
    assert set(ranked["model"]) == {f"{model} 0.50 / nan" for model in MODELS}
    assert len(ranked) == written["curve"].isin(["roc", "precision_recall"]).sum()


def test_folds_and_seeds_are_members_of_one_model(whole: Path) -> None:
    html = whole.read_text()
    assert "Unseen loci are the windows of test folds 0, 1. A model has up to 2 checkpoints (folds and seeds)" in html
    assert f"folds 0, 1: {WINDOWS // 2} windows" in html
    curves = pd.read_csv(whole.parent / "data" / "fine-tuning-train-loss.tsv", sep="\t")
    assert {"legnet, fold0-seed1", "legnet, fold1-seed1", "reference, fold0-seed1"} <= set(curves["series"])
    drawing = (whole.parent / "figures" / "fine-tuning-train-loss.svg").read_text()
    assert drawing.count(">legnet<") == 1, "one entry of the legend for all members"


def test_variants_that_were_not_scored_are_counted_by_reason(whole: Path, tmp_path: Path) -> None:
    html = whole.read_text()
    assert re.search(r"<td>one</td><td>legnet</td><td[^>]*>1,000</td><td>ref mismatch</td><td[^>]*>2</td>", html)
    assert "was scored by any model" not in html
    folder = results_folder(tmp_path / "r", parts="c")
    for path in folder.glob("effects/scores/two.*.cost.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"variants": 0}))
    html = build_report(folder, tmp_path / "out", "t").read_text()
    assert "No variant of two was scored by any model" in html[: html.index('class="cards"')]


def test_costs_are_shown_by_process_and_by_model(whole: Path) -> None:
    html = whole.read_text()
    assert "16 tasks took 1 h 7 min of wall time" in html
    row = re.search(r"<tr><td>legnet</td>.*?</tr>", html[html.index("What scoring costs") :])
    assert row and re.findall(r">([^<>]+)</td>", row.group())[:6] == ["legnet", "legnet", "1,234,567", "2", "6", "512"]


def test_methods_name_the_control_models_that_ran(whole: Path) -> None:
    assert "trained on the reference genome, on genotypes shuffled between donors. A test window" in whole.read_text()


def test_every_metric_shown_is_defined() -> None:
    from allelegro.report.sections.training import QUESTIONS

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


def scored_folder(folder: Path, donors: bool = False) -> Path:
    """Results of a run that scored variants: two models, one row without a score, importance of the top variant."""
    if donors:
        results_folder(folder, parts="pg")
    store = folder / "genotype" / "haplotypes" / "variants.tsv"
    given = pd.read_csv(store, sep="\t").head(3) if donors else None
    rows = []
    for model, scale in (("pretrained_cell", 0.5), ("legnet", 1.0)):
        for i, effect in enumerate((0.1, -1.5, float("nan"))):
            place = (
                ("chr1", 100 + i, "A", "G") if given is None else tuple(given.loc[i, ["chrom", "pos", "ref", "alt"]])
            )
            known = (*place, f"rs{i}", model, effect * scale, 0.2, 5.0, 5.0 + effect * scale)
            rows.append(
                (*known, *(("ref_mismatch", "REF is not in the FASTA") if i == 2 else ("scored", "")), "GENE<1>")
            )
    columns = ["chrom", "pos", "ref", "alt", "id", "model", "effect", "effect_sd", "ref_prediction", "alt_prediction",
               "status", "reason", "gene"]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    for model, of in table.groupby("model"):
        write_table(of, folder / "effects" / "scores" / f"my.set.{model}.tsv")
    # What rank_variants.py writes next to them.
    ranked = table[table["model"] == "legnet"].drop(columns="model").rename(columns={"effect": "best_score"})
    scored = ranked["status"] == "scored"
    ranked = ranked.assign(
        best_model=np.where(scored, "legnet", "."), rank=[2, 1, np.nan], sign_probability=[0.6, 0.95, np.nan], af=0.25,
        null_quantile=[0.3, 0.99, np.nan], motif=[".", "MA1 SP1", "."], motif_change=[".", "broken", "."], motif_bits=[np.nan, -7.5, np.nan],
        tss_distance=-40, window=[".", "w3", "."], distance=[np.nan, -12, np.nan], window_expression=[np.nan, 4.25, np.nan],
        seen=["yes", "no", "."],
    )  # fmt: skip
    status = [ranked.pop(name) for name in ("status", "reason")]
    effects = {f"effect_{model}": of["effect"].to_numpy() for model, of in table.groupby("model")}
    ranked = ranked.assign(status=status[0], reason=status[1], **effects)
    write_table(ranked, folder / "effects" / "scores" / "my.set.variants.tsv")
    bins = pd.DataFrame(
        {
            "model": "legnet",
            "class": "all",
            "bin": [1, 2],
            "predicted": [0.6, 0.9],
            "observed": [0.7, 0.8],
            "n": [60, 60],
        }
    )
    write_table(bins, folder / "effects" / "scores" / "my.set.calibration.tsv")
    top = table[table["effect"] == -1.5].iloc[0]
    letters = pd.DataFrame(
        [(allele, offset, "ACGT"[offset % 4], 0.1 * offset) for allele in ("ref", "alt") for offset in range(-5, 5)],
        columns=["allele", "offset", "base", "importance"],
    ).assign(**{name: top[name] for name in ("chrom", "pos", "ref", "alt", "id")}, model="legnet")
    write_table(letters, folder / "effects" / "importance" / "my.set.importance.tsv")
    return folder


def test_scored_variants_come_first_with_table_and_cards(tmp_path: Path) -> None:
    """Scores alone: what was scored and why not, every variant in the table, a card with both alleles' logos."""
    report = build_report(scored_folder(tmp_path / "r"), tmp_path / "out", "t")
    html = report.read_text()
    said = answers(html)
    assert (
        said["What was scored of my.set?"] == "2 of 3 variants by legnet. Without a score: REF is not in the FASTA (1)."
    )
    assert said["How far can the scores of my.set be trusted?"].startswith(
        "1 of 2 have the right sign with probability 0.9 or more. 1 of 2 lie where training saw the element"
    )
    assert "1 of 2 effects are larger than those of 95 %" in said["How far can the scores of my.set be trusted?"]
    assert "Training saw this element, so this is no held-out prediction." in html
    assert said["Which variants of my.set stand out?"].startswith("The largest: 2.8-fold less activity.")
    table = html[html.index("my.set: effects") :]
    firsts = re.findall(r"<tr><td>(chr1:[^<]+)</td><td[^>]*>([^<]+)</td>", table[: table.index("</table>")])
    assert firsts == [("chr1:101 A&gt;G", "-1.50"), ("chr1:100 A&gt;G", "0.100")]
    assert (
        "effect by pretrained cell" in table
        and "MA1 SP1" in table
        and "GENE&lt;1&gt;" in table
        and "GENE<1>" not in html
    )
    assert "stage left no results" not in html and 'id="libraries"' not in html
    card = html[html.index("Effect -1.500 ± 0.20 log2 (0.35-fold) by legnet.") :]
    for told in (
        "sign is right with probability 0.95", "Larger than 99 % of random SNVs", "40 bp upstream of the nearest start of transcription, of GENE",
        "breaks motif MA1 SP1 (-7.5 bits)", "Allele frequency 0.25", "In window w3, 12 bp from its centre; 4.25 RPM are observed in it.",
    ):  # fmt: skip
        assert told in card[: card.index("</p>")], told
    assert "Expected calibration error 0.100" in html
    drawn = {path.stem for path in report.parent.glob("figures/*.svg")}
    assert {"sign-calibration-my-set", "alleles-my-set-1", "alleles-my-set-2", "logos-my-set-1"} <= drawn
    logos = pd.read_csv(report.parent / "data" / "logos-my-set-1.tsv", sep="\t")
    assert set(logos["allele"]) == {"ref", "alt"} and len(logos) == 20
    outline(html)


def test_a_variant_that_donors_carry_shows_their_signal(tmp_path: Path) -> None:
    report = build_report(scored_folder(tmp_path / "r", donors=True), tmp_path / "out", "t")
    table = pd.read_csv(report.parent / "data" / "locus-my-set-1.tsv", sep="\t")
    assert table["genotype"].nunique() > 1 and {"plus", "minus"} <= set(table["track"])


def test_nothing_scored_is_said_loudly(tmp_path: Path) -> None:
    folder = scored_folder(tmp_path / "r")
    for path in folder.glob("effects/scores/*.tsv"):
        table = pd.read_csv(path, sep="\t", keep_default_na=False)
        table = table.assign(rank="NA", best_score="NA") if "rank" in table else table
        write_table(table.assign(effect="NA", status="ref_mismatch", reason="REF is not in the FASTA"), path)
    html = build_report(folder, tmp_path / "out", "t").read_text()
    assert "No variant of my.set was scored by any model" in html[: html.index("<dl")]


def test_example_loci_are_chosen_for_what_they_show(tmp_path: Path) -> None:
    """The clearest effect that is predicted right, and the clearest that is predicted wrong."""
    folder = results_folder(tmp_path / "r", parts="pgt")
    path = folder / "training" / "evaluation" / "predictions.parquet"
    table = pd.read_parquet(path)
    store = HaplotypeStore(folder / "genotype" / "haplotypes")
    for place, sign in ((7, 1.0), (12, -1.0)):
        carried = np.isin(store.index[place], (1, 3)).sum(axis=1)
        here = (table["window"] == f"w{place}").to_numpy()
        table.loc[here, "observed"] = np.expm1(3 + carried)
        table.loc[here, "legnet"] = np.expm1(3 + sign * carried / 2)
    table.to_parquet(path)
    right, wrong = telling_loci(Results(folder), store)
    assert (right.name, wrong.name) == ("w7", "w12")
    assert right.observed == pytest.approx(1) and right.predicted == pytest.approx(0.5)
    assert wrong.predicted == pytest.approx(-0.5)
    html = build_report(folder, tmp_path / "out", "t").read_text()
    assert "w7: the largest effect that is predicted in the right direction" in html
    assert "w12: the largest failure" in html


def test_allelic_reads_and_events(tmp_path: Path) -> None:
    """Reference share before and after exclusions, the events by significance; without allelic reads the report says so."""
    folder = results_folder(tmp_path / "r", parts="p")
    assert "Reads were not told apart by haplotype" in build_report(folder, tmp_path / "none", "t").read_text()
    counted = {
        "library": "D00_1", "sites": {"with reads": 40, "used": 30}, "reads": {"assigned to a haplotype": 900},
        "reference_share": {"before": {"ref": 550, "alt": 450, "share": 0.55}, "after": {"ref": 410, "alt": 390, "share": 0.5125}},
    }  # fmt: skip
    alleles = folder / "procap" / "alleles"
    alleles.mkdir()
    (alleles / "D00_1.alleles.json").write_text(json.dumps(counted))
    events = {
        "chrom": "chr1",
        "pos": [7, 9],
        "ref": "A",
        "alt": "C",
        "effect": [0.1, -2.0],
        "fdr": [0.5, 0.01],
        "significant": ["no", "yes"],
    }
    write_table(pd.DataFrame(events), alleles / "allelic_events.tsv")
    windows = pd.DataFrame(
        {"chrom": "chr1", "start": 0, "end": 500, "window": ["w1", "w1"], "haplotype_1": 0, "haplotype_2": [1, 2],
         "alleles_1": "", "alleles_2": ["chr1:9:A:C", "chr1:7:A:C"], "effect": [-1.5, 0.2], "n": 90, "p": [1e-6, 0.4],
         "fdr": [2e-6, 0.4], "donors": 3, "count_1": 60, "count_2": 30, "significant": ["yes", "no"]}
    )  # fmt: skip
    write_table(windows, alleles / "allelic_windows.tsv")
    report = build_report(folder, tmp_path / "out", "t")
    drawn = pd.read_csv(report.parent / "data" / "reference-share.tsv", sep="\t").set_index("label")["value"]
    assert drawn.to_dict() == {"D00_1 before": 0.55, "D00_1": 0.5125}
    shown = report.read_text()
    assert re.search(r"<td>C</td><td[^>]*>9</td>.*<td>C</td><td[^>]*>7</td>", shown, re.DOTALL)
    assert (report.parent / "browser" / "allelic_events.bed").read_text().startswith("chr1\t8\t9\tchr1:9_A>C_-2.00")
    assert "2 variants were tested for allelic imbalance over donors; 1 are significant." in shown
    assert "2 pairs of haplotypes in 1 windows were tested" in shown and "chr1:9:A:C" in shown
