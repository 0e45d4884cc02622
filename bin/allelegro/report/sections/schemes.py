"""The schemes of the run: how data were processed, how models were trained and tested."""

from typing import Any

from allelegro.report import plots
from allelegro.report.report import Report
from allelegro.report.results import Results


def schemes(results: Results, report: Report) -> None:
    """Two vector figures with this run's own numbers: how data were processed, how models were trained and tested."""
    section = report.section("schemes", "What was done")
    windows = len(results.windows) if results.windows is not None else None
    reads = sum(_last_step(document) for document in results.library_qc) or None
    store = results.haplotypes or {}
    procap = [
        ("PRO-cap libraries", f"{len(results.library_qc)} libraries\nof {len(results.donors)} donors"),
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
    legnets, clipnets = (
        len({model.model for model in results.finetuned if (model.config["architecture"] == "clipnet") == clipnet})
        for clipnet in (False, True)
    )
    folds = ("s " if len(results.test_folds) > 1 else " ") + (", ".join(map(str, results.test_folds)) or "–")
    benchmarks = results.metrics.loc[results.metrics["stage"] == "effects", "dataset"].nunique()
    return [
        [("lentiMPRA", f"pretrained LegNet\ncheckpoints: {len(results.pretrained)}")],
        [
            ("fine-tuning", f"{legnets} LegNet, {clipnets} CLIPNET\ncheckpoints: {len(results.finetuned)}"),
            ("held out", f"fold{folds}: {results.test_loci} windows\n{len(results.test_donors)} donors"),
        ],
        [("held-out PRO-cap", "four cells:\nloci × donors"), ("variant effects", f"{benchmarks} benchmarks")],
    ]


def _text(value: float | int | None, unit: str) -> str:
    return f"{value:,} {unit}" if value is not None else f"no {unit}"
