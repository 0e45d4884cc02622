"""The summary: warnings, conclusions in words, headline figures."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from allelegro.report.glossary import GLOSSARY
from allelegro.report.report import Report
from allelegro.report.results import Results
from allelegro.report.sections.training import CELLS, HARDEST

FEW_WINDOWS = 200
FEW_TEST_LOCI = 100
FEW_DONORS = 10


def subtitle(results: Results) -> str:
    """What was studied, in one line."""
    kind = "Simulated cohort with a known truth" if results.truth is not None else "Cohort"
    libraries, donors = len(results.library_qc), len(results.donors)
    return f"{kind}: {libraries} libraries, {donors} donors"


def summary(results: Results, report: Report) -> None:
    """Cards, conclusions and warnings; called last, when every section has been written."""
    _cards(results, report)
    _held_out_conclusions(results, report)
    _control_conclusions(results, report)
    _effect_conclusions(results, report)
    _overlap_warnings(results, report)
    _size_warnings(results, report)


def _cards(results: Results, report: Report) -> None:
    report.cards.append((str(len(results.library_qc)), "libraries", GLOSSARY["library"]))
    report.cards.append((str(len(results.donors)), "donors", GLOSSARY["donor"]))
    if results.windows is not None:
        report.cards.append((f"{len(results.windows):,}", "windows", GLOSSARY["window"]))
    for role, model in (("LegNet", results.roles.get("personal")), ("CLIPNET", results.roles.get("clipnet"))):
        found = _value(results, model, HARDEST, "across_loci_r")
        if found is not None:
            label = f"{role}: r across unseen loci, {_interval(found)}"
            report.cards.append((f"{found['value']:z.2f}", label, GLOSSARY["across_loci_r"]))
    effects = _effects(results, results.roles.get("personal"))
    for _, row in effects.head(3).iterrows():
        label = f"LegNet: r of effects, {row['dataset']}, {_interval(row)}"
        report.cards.append((f"{row['value']:z.2f}", label, GLOSSARY["pearson"]))


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


@dataclass(frozen=True)
class Difference:
    """A paired difference of r between two models, with its 95 % interval, in one cell."""

    cell: str
    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"difference of r {self.value:+z.2f}, 95 % {self.low:+z.2f} to {self.high:+z.2f}, n = {self.n:,}"

    def word(self, better: str, worse: str, same: str) -> str:
        """Which of the three the interval says of the first model."""
        return better if self.low > 0 else worse if self.high < 0 else same


def _paired(
    results: Results, first: str, second: str, metric: str, cells: Iterable[str] = (HARDEST, "unseen_loci/seen_donors")
) -> Difference | None:
    """The model in the role ``first`` less that in the role ``second``, in the first of the cells with an interval."""
    one, other = results.roles.get(first), results.roles.get(second)
    table = results.metrics[results.metrics["metric"] == f"{metric}_difference"].dropna(subset=["value", "ci_low"])
    for cell in cells:
        for name, sign in ((f"{one} - {other}", 1.0), (f"{other} - {one}", -1.0)):
            rows = table[(table["subset"] == cell) & (table["model"] == name)]
            if len(rows):
                row = rows.iloc[0]
                low, high = sorted((sign * row["ci_low"], sign * row["ci_high"]))
                return Difference(cell, sign * row["value"], low, high, int(row["n"]))
    return None


def _held_out_conclusions(results: Results, report: Report) -> None:
    found = _paired(results, "personal", "clipnet", "across_loci_r")
    if found is not None:
        what = found.word("better than", "worse than", "not distinguishable from")
        report.conclusions.append(
            f"Across unseen loci, fine-tuned LegNet is {what} CLIPNET trained on the same data ({found} windows)."
        )


def _control_conclusions(results: Results, report: Report) -> None:
    """Shuffled genotypes must help no more than the reference genome; when they do, that is a warning, not a footnote.

    Both control models start from the same lentiMPRA model and learn differences between loci, so neither is expected at zero.
    """
    for metric, what in (("between_donors_r", "differences between donors"), ("allele_effect_r", "allele effects")):
        found = _paired(results, "shuffled", "reference", metric)
        if found is None:
            continue
        if found.low > 0:
            report.warn(
                f"The control failed: LegNet trained on shuffled genotypes predicts {what} better than LegNet trained on "
                f"the reference genome ({found}); something leaks between training and test."
            )
        else:
            report.conclusions.append(
                f"The control holds: LegNet learned no more about {what} from shuffled genotypes than from the reference genome ({found})."
            )
    _genotype_conclusions(results, report)
    row = _value(results, results.roles.get("personal"), HARDEST, "between_donors_r")
    if row is not None and pd.notna(row["ci_low"]):
        verb = "predicts" if row["ci_low"] > 0 else "does not measurably predict"
        report.conclusions.append(
            f"At unseen loci, LegNet fine-tuned on personal genomes {verb} differences between unseen donors "
            f"(r = {row['value']:z.2f}, {_interval(row)}){_against_reference(results)}."
        )


def _genotype_conclusions(results: Results, report: Report) -> None:
    """Whether LegNet learned more from people's own genotypes than from anyone's: not so where signal and genotype are unrelated."""
    if not {"personal", "shuffled"} <= results.roles.keys():
        return
    found = _paired(results, "personal", "shuffled", "between_donors_r", CELLS)
    if found is None:
        report.conclusions.append(
            "Whether LegNet learned anything from personal genotypes cannot be said: too few loci differ between donors."
        )
        return
    what = (
        "more from personal genotypes than"
        if found.low > 0
        else "nothing measurable from personal genotypes beyond what it learned"
    )
    report.conclusions.append(
        f"About differences between donors, LegNet learned {what} from shuffled ones ({CELLS[found.cell]}: {found})."
    )


def _against_reference(results: Results) -> str:
    """What personal genomes added in training, or nothing where there is no control model."""
    found = _paired(results, "personal", "reference", "between_donors_r")
    if found is None:
        return ""
    what = found.word("less well", "better", "about as well")
    return f"; the control model trained on the reference genome does so {what} ({found})"


def _effect_conclusions(results: Results, report: Report) -> None:
    for _, row in _effects(results, results.roles.get("personal")).iterrows():
        verb = "are predicted" if row["ci_low"] > 0 else "are not measurably predicted"
        report.conclusions.append(
            f"Variant effects of {row['dataset']} {verb} by LegNet fine-tuned on personal genomes "
            f"(r = {row['value']:z.2f}, {_interval(row)})."
        )


def _overlap_warnings(results: Results, report: Report) -> None:
    """Whatever was scored or trained where it should not have been, or may have been."""
    if (results.document("pipeline_info", "params.json") or {}).get("score_seen"):
        report.warn(
            "Variants were also scored by models that saw their place in training (--score_seen): figures may flatter."
        )
    for dataset, points in results.benchmark_points.items():
        seen = int((points["seen"] == "yes").sum()) if "seen" in points else 0
        if seen:
            report.warn(
                f"{seen:,} of {len(points):,} variants of {dataset} are where a model was trained: see its subset 'unseen'."
            )
    for model in results.pretrained:
        if model.config["training"].get("overlap_unknown"):
            report.warn(
                f"The lentiMPRA table behind {model.model} has no coordinates on this genome: whether its sequences overlap "
                "held-out windows is unknown."
            )


def _size_warnings(results: Results, report: Report) -> None:
    """Stages that are missing, and cohorts too small to learn from."""
    for stage, present in (
        ("PRO-cap", bool(results.library_qc) or results.windows is not None),
        ("genotype", results.haplotypes is not None),
        ("fine-tuning", bool(results.finetuned)),
        ("variant effects", results.path("effects").is_dir()),
    ):
        if not present:
            report.warn(f"The {stage} stage left no results in this folder: it was skipped or did not finish.")
    if results.windows is not None and len(results.windows) < FEW_WINDOWS:
        report.warn(
            f"Only {len(results.windows)} windows: too few to train on; take the figures as a test of the software."
        )
    if results.finetuned and (loci := results.test_loci) < FEW_TEST_LOCI:
        report.warn(f"Only {loci} windows are held out for testing: intervals are wide, compare models by them.")
    donors = len(results.donors)
    if results.haplotypes is not None and donors < 2:
        report.warn("Only one donor: nothing can be said about differences between donors.")
    elif results.haplotypes is not None and donors < FEW_DONORS:
        report.warn(f"Only {donors} donors: differences between donors rest on very few people.")
