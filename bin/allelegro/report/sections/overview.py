"""The schemes of the run, and the summary: headline figures, a verdict in words, warnings first."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from allelegro.report import plots
from allelegro.report.glossary import GLOSSARY
from allelegro.report.report import Book
from allelegro.report.results import Results
from allelegro.report.sections.training import CELLS, HARDEST

FEW_WINDOWS = 200
FEW_TEST_LOCI = 100
FEW_DONORS = 10


def subtitle(results: Results) -> str:
    """What was studied, in one line."""
    kind = "Simulated cohort with a known truth" if results.truth is not None else "Cohort"
    libraries, donors = len(results.library_qc), len(_donors(results))
    return f"{kind}: {libraries} libraries, {donors} donors"


def _donors(results: Results) -> list[str]:
    return list((results.haplotypes or {}).get("donors", []))


def _text(value: float | int | None, unit: str) -> str:
    return f"{value:,} {unit}" if value is not None else f"no {unit}"


def schemes(results: Results, book: Book) -> None:
    """Two vector figures with this run's own numbers: how data were processed, how models were trained and tested."""
    section = book.section("schemes", "What was done")
    windows = len(results.windows) if results.windows is not None else None
    reads = sum(_last_step(document) for document in results.library_qc) or None
    store = results.haplotypes or {}
    procap = [
        ("PRO-cap libraries", f"{len(results.library_qc)} libraries\nof {len(_donors(results))} donors"),
        ("5′ ends", _text(reads, "reads")),
        ("windows", _text(windows, "windows")),
    ]
    genotype = [
        ("phased genotypes", _text(store.get("variants"), "variants")),
        ("haplotypes", _text(store.get("haplotypes"), "carried")),
        ("distinct sequences", _text(store.get("distinct_haplotypes"), "stored")),
    ]
    section.show(
        plots.scheme(
            "scheme-data",
            "Data processing",
            "From libraries and genotypes to counts and distinct haplotype sequences, with the numbers of this run.",
            [procap, genotype],
        )
    )
    section.show(
        plots.scheme(
            "scheme-models",
            "Training and testing",
            "Which models were trained, what was held out, and what they were tested on.",
            _model_columns(results),
        )
    )


def _last_step(document: dict[str, Any]) -> int:
    steps = document.get("steps") or [{"reads": 0}]
    return int(steps[-1]["reads"])


def _model_columns(results: Results) -> list[list[tuple[str, str]]]:
    pretrained = len(results.pretrained)
    personal = [model for model in results.finetuned if model.config["architecture"] == "legnet"]
    clipnets = len(results.finetuned) - len(personal)
    split = _split(results)
    benchmarks = results.metrics.loc[results.metrics["stage"] == "effects", "dataset"].nunique()
    return [
        [("lentiMPRA", f"{pretrained} pretrained LegNet" + ("s" if pretrained != 1 else ""))],
        [
            ("fine-tuning", f"{len(personal)} LegNet, {clipnets} CLIPNET"),
            ("held out", f"fold {split['fold']}: {split['loci']} windows\n{split['donors']} donors"),
        ],
        [("held-out PRO-cap", "four cells of loci and donors"), ("variant effects", f"{benchmarks} benchmarks")],
    ]


def _split(results: Results) -> dict[str, Any]:
    training = results.finetuned[0].config["training"] if results.finetuned else {}
    fold = training.get("test_fold")
    loci = int((results.windows["fold"] == fold).sum()) if results.windows is not None and fold is not None else 0
    return {"fold": "–" if fold is None else fold, "loci": loci, "donors": len(training.get("test_donors", []))}


def summary(results: Results, book: Book) -> None:
    """Cards, verdicts and warnings; called last, when every chapter has had its say."""
    _cards(results, book)
    _held_out_verdict(results, book)
    _control_verdicts(results, book)
    _effect_verdicts(results, book)
    _overlap_warnings(results, book)
    _size_warnings(results, book)


def _cards(results: Results, book: Book) -> None:
    book.cards.append((str(len(results.library_qc)), "libraries", GLOSSARY["library"]))
    book.cards.append((str(len(_donors(results))), "donors", GLOSSARY["donor"]))
    if results.windows is not None:
        book.cards.append((f"{len(results.windows):,}", "windows", GLOSSARY["window"]))
    for role, model in (("LegNet", results.roles.get("personal")), ("CLIPNET", results.roles.get("clipnet"))):
        found = _value(results, model, HARDEST, "across_loci_r")
        if found is not None:
            label = f"{role}: r across unseen loci, {_interval(found)}"
            book.cards.append((f"{found['value']:z.2f}", label, GLOSSARY["across_loci_r"]))
    effects = _effects(results, results.roles.get("personal"))
    for _, row in effects.head(3).iterrows():
        label = f"LegNet: r of effects, {row['dataset']}, {_interval(row)}"
        book.cards.append((f"{row['value']:z.2f}", label, GLOSSARY["pearson"]))


def _value(results: Results, model: str | None, subset: str, metric: str) -> dict[str, Any] | None:
    table = results.metrics
    rows = table[(table["model"] == model) & (table["subset"] == subset) & (table["metric"] == metric)]
    rows = rows.dropna(subset=["value"])
    return None if rows.empty else {str(key): value for key, value in rows.iloc[0].items()}


def _effects(results: Results, model: str | None) -> pd.DataFrame:
    table = results.metrics
    kept = (table["stage"] == "effects") & (table["subset"] == "all") & (table["metric"] == "pearson")
    return table[kept & (table["model"] == model)].dropna(subset=["value"])


def _interval(row: Mapping[str, Any] | pd.Series) -> str:
    return f"95 % {row['ci_low']:z.2f} to {row['ci_high']:z.2f}, n = {int(row['n']):,}"


def _paired(
    results: Results,
    first: str | None,
    second: str | None,
    metric: str,
    cells: Sequence[str] = (HARDEST, "unseen_loci/seen_donors"),
) -> tuple[float, float, float, int] | None:
    """``first`` less ``second`` in the first of the cells that has an interval: value, interval, n."""
    table = results.metrics[results.metrics["metric"] == metric].dropna(subset=["value", "ci_low"])
    for subset in cells:
        for name, sign in ((f"{first} - {second}", 1.0), (f"{second} - {first}", -1.0)):
            rows = table[(table["subset"] == subset) & (table["model"] == name)]
            if len(rows):
                row = rows.iloc[0]
                low, high = sorted((sign * row["ci_low"], sign * row["ci_high"]))
                return sign * row["value"], low, high, int(row["n"])
    return None


def _held_out_verdict(results: Results, book: Book) -> None:
    found = _paired(results, results.roles.get("personal"), results.roles.get("clipnet"), "across_loci_r_difference")
    if found is None:
        return
    value, low, high, n = found
    what = "better than" if low > 0 else "worse than" if high < 0 else "not distinguishable from"
    book.verdicts.append(
        f"Across unseen loci, fine-tuned LegNet is {what} CLIPNET trained on the same data "
        f"(difference of r {value:+.2f}, 95 % {low:+.2f} to {high:+.2f}, n = {n:,} windows)."
    )


def _control_verdicts(results: Results, book: Book) -> None:
    """Shuffled genotypes must teach no more than the reference genome; when they do, that is a warning, not a footnote.

    Both twins start from the same lentiMPRA model and learn differences between loci, so neither is expected at zero.
    """
    shuffled, reference = results.roles.get("shuffled"), results.roles.get("reference")
    for metric, what in (("between_donors_r", "differences between donors"), ("allele_effect_r", "allele effects")):
        found = _paired(results, shuffled, reference, f"{metric}_difference")
        if found is None:
            continue
        value, low, high, n = found
        interval = f"difference of r {value:+.2f}, 95 % {low:+.2f} to {high:+.2f}, n = {n:,}"
        if low > 0:
            book.warn(
                f"The control failed: LegNet trained on shuffled genotypes predicts {what} better than its twin trained on "
                f"the reference genome ({interval}); something leaks between training and test."
            )
        else:
            book.verdicts.append(
                f"The control holds: shuffled genotypes teach LegNet no more about {what} than the reference genome ({interval})."
            )
    _taught_verdict(results, book)
    row = _value(results, results.roles.get("personal"), HARDEST, "between_donors_r")
    if row is not None and pd.notna(row["ci_low"]):
        verb = "predicts" if row["ci_low"] > 0 else "does not measurably predict"
        book.verdicts.append(
            f"At unseen loci, LegNet fine-tuned on personal genomes {verb} differences between unseen donors "
            f"(r = {row['value']:z.2f}, {_interval(row)}){_beside_reference(results)}."
        )


def _taught_verdict(results: Results, book: Book) -> None:
    """Whether people's own genotypes taught more than anyone's: nothing where signal and genotype are unrelated."""
    twins = results.roles.get("personal"), results.roles.get("shuffled")
    if None in twins:
        return
    metric = "between_donors_r_difference"
    found = {cell: pair for cell in CELLS if (pair := _paired(results, *twins, metric, [cell])) is not None}
    if not found:
        book.verdicts.append("Whether personal genotypes taught LegNet anything cannot be told: too few loci differ.")
        return
    cell, (value, low, high, n) = next(iter(found.items()))
    what = "more than shuffled ones" if low > 0 else "nothing measurable beyond shuffled ones"
    book.verdicts.append(
        f"About differences between donors, personal genotypes taught LegNet {what} "
        f"({CELLS[cell]}: difference of r {value:+.3f}, 95 % {low:+.3f} to {high:+.3f}, n = {n:,})."
    )


def _beside_reference(results: Results) -> str:
    """What personal genomes added in training, or nothing where there is no twin."""
    roles = results.roles
    found = _paired(results, roles.get("personal"), roles.get("reference"), "between_donors_r_difference")
    if found is None:
        return ""
    value, low, high, _ = found
    what = "less well" if low > 0 else "better" if high < 0 else "about as well"
    return f"; its twin trained on the reference genome does so {what} (difference of r {value:+.2f}, 95 % {low:+.2f} to {high:+.2f})"


def _effect_verdicts(results: Results, book: Book) -> None:
    for _, row in _effects(results, results.roles.get("personal")).iterrows():
        verb = "are predicted" if row["ci_low"] > 0 else "are not measurably predicted"
        book.verdicts.append(
            f"Variant effects of {row['dataset']} {verb} by LegNet fine-tuned on personal genomes "
            f"(r = {row['value']:z.2f}, {_interval(row)})."
        )


def _overlap_warnings(results: Results, book: Book) -> None:
    """Whatever was scored or trained where it should not have been, or may have been."""
    if (results.document("pipeline_info", "params.json") or {}).get("score_seen"):
        book.warn(
            "Variants were also scored by models that saw their place in training (--score_seen): figures may flatter."
        )
    for dataset, points in results.benchmark_points.items():
        seen = int((points["seen"] == "yes").sum()) if "seen" in points else 0
        if seen:
            book.warn(
                f"{seen:,} of {len(points):,} variants of {dataset} lie where a model was trained: see its subset 'unseen'."
            )
    for model in results.pretrained:
        if model.config["training"].get("overlap_unknown"):
            book.warn(
                f"The lentiMPRA table behind {model.name} has no coordinates on this genome: whether its sequences overlap "
                "held-out windows is unknown."
            )


def _size_warnings(results: Results, book: Book) -> None:
    """Stages that are missing, and cohorts too small to learn from."""
    for stage, present in (
        ("PRO-cap", bool(results.library_qc) or results.windows is not None),
        ("genotype", results.haplotypes is not None),
        ("fine-tuning", bool(results.finetuned)),
        ("variant effects", results.path("effects").is_dir()),
    ):
        if not present:
            book.warn(f"The {stage} stage left no results in this folder: it was skipped or did not finish.")
    if results.windows is not None and len(results.windows) < FEW_WINDOWS:
        book.warn(
            f"Only {len(results.windows)} windows: too few to train on; take the figures as a test of the software."
        )
    split = _split(results)
    if results.finetuned and split["loci"] < FEW_TEST_LOCI:
        book.warn(f"Only {split['loci']} windows are held out for testing: intervals are wide, compare models by them.")
    donors = len(_donors(results))
    if results.haplotypes is not None and donors < 2:
        book.warn("Only one donor: nothing can be said about differences between donors.")
    elif results.haplotypes is not None and donors < FEW_DONORS:
        book.warn(f"Only {donors} donors: differences between donors rest on very few people.")
