"""The summary: warnings first, answers in words, headline figures."""

from allelegro.report.comparisons import figure_of_model, interval
from allelegro.report.glossary import GLOSSARY
from allelegro.report.report import Report
from allelegro.report.results import Results
from allelegro.report.sections.conclusions import conclusions
from allelegro.report.sections.training import HARDEST

FEW_WINDOWS = 200
FEW_TEST_LOCI = 100
FEW_DONORS = 10


def subtitle(results: Results) -> str:
    """What was studied and when, in one line."""
    libraries, donors = len(results.library_qc), len(results.donors)
    if results.scores_only:
        what = "Variants scored with given models"
    else:
        kind = "Simulated cohort with a known truth" if results.truth is not None else "Cohort"
        what = f"{kind}: {libraries} libraries, {donors} donors"
    return f"{what} · run of {results.date:%d %B %Y}{_stages(results)}"


def _stages(results: Results) -> str:
    """Which stages the run had, and why no others; nothing for a whole run."""
    others = ", ".join(f"{name} ({why})" for name, runs, why in results.stages if not runs)
    done = ", ".join(name for name, runs, _ in results.stages if runs)
    return f" · this run: {done}; not in it: {others}" if others else ""


def summary(results: Results, report: Report) -> None:
    """Warnings, answers and cards; called last, when every section has been written."""
    conclusions(results, report)
    _cards(results, report)
    _overlap_warnings(results, report)
    _size_warnings(results, report)


def _cards(results: Results, report: Report) -> None:
    if results.library_qc:
        report.cards.append((str(len(results.library_qc)), "libraries", GLOSSARY["library"]))
    if results.donors:
        report.cards.append((str(len(results.donors)), "donors", GLOSSARY["donor"]))
    if results.windows is not None:
        report.cards.append((f"{len(results.windows):,}", "windows", GLOSSARY["window"]))
    for role, model in (("LegNet", results.roles.get("personal")), ("CLIPNET", results.roles.get("clipnet"))):
        found = figure_of_model(results, model, HARDEST, "across_loci_r")
        if found is not None:
            label = f"{role}: r across unseen loci, {interval(found)}"
            report.cards.append((f"{found['value']:z.2f}", label, GLOSSARY["across_loci_r"]))
    table, model = results.metrics, results.roles.get("personal")
    kept = (table["stage"] == "effects") & (table["subset"] == "all") & (table["metric"] == "pearson")
    for _, row in table[kept & (table["model"] == model)].dropna(subset=["value"]).head(3).iterrows():
        label = f"LegNet: r of effects, {row['dataset']}, {interval(row)}"
        report.cards.append((f"{row['value']:z.2f}", label, GLOSSARY["pearson"]))


def _overlap_warnings(results: Results, report: Report) -> None:
    """Whatever was scored or trained where it should not have been, or may have been."""
    if (results.document("pipeline_info", "params.json") or {}).get("score_seen"):
        report.warn(
            "Nothing was held out (--score_seen): variants were also scored by networks that saw their place in training, and "
            "benchmarks count them. Figures may flatter."
        )
    for dataset, points in results.benchmark_points.items():
        seen = int((points["seen"] == "yes").sum()) if "seen" in points else 0
        if seen:
            report.warn(
                f"{seen:,} of {len(points):,} variants of {dataset} are where a model was trained: see its subset 'unseen'."
            )
        unknown = int((points["seen"] == "unknown").sum()) if "seen" in points else 0
        if unknown:
            report.warn(
                f"{unknown:,} of {len(points):,} variants of {dataset}: a checkpoint does not say whether training saw them."
            )
    for model in results.pretrained:
        if model.config["training"].get("overlap_unknown"):
            report.warn(
                f"The lentiMPRA table behind {model.model} has no coordinates on this genome: whether its sequences overlap "
                "held-out windows is unknown."
            )


def _size_warnings(results: Results, report: Report) -> None:
    """Stages that are missing, and cohorts too small to learn from."""
    if results.scores_only:
        return
    not_in_run = {name for name, runs, _ in results.stages if not runs}
    for stage, present in (
        ("PRO-cap", bool(results.library_qc) or results.windows is not None),
        ("genotypes", results.haplotypes is not None),
        ("fine-tuning", bool(results.finetuned)),
        ("variant effects", results.path("effects").is_dir()),
    ):
        if not present and stage not in not_in_run:
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
