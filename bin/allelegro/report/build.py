"""Results folder → report → files."""

import logging
from pathlib import Path

from allelegro.io.atomic import atomic_folder
from allelegro.report.browser import describe, write_browser
from allelegro.report.html import render
from allelegro.report.report import Report, save_figures
from allelegro.report.results import Results
from allelegro.report.sections import (
    alleles,
    effects,
    genotype,
    loci,
    procap,
    provenance,
    schemes,
    summary,
    training,
    variants,
)

log = logging.getLogger(__name__)

SECTIONS = (
    variants.scored_variants,
    schemes.schemes,
    procap.libraries,
    procap.peaks,
    genotype.haplotypes,
    alleles.allelic_reads,
    training.learning_curves,
    training.held_out,
    effects.variant_effects,
    loci.example_loci,
    provenance.methods,
    provenance.provenance,
    provenance.glossary,
    summary.summary,  # printed first, written last: it draws on what the others found
)

# A run that scored variants with given models has no cohort to tell of.
OF_A_COHORT = (
    schemes.schemes, procap.libraries, procap.peaks, genotype.haplotypes, training.learning_curves, training.held_out,
    loci.example_loci,
)  # fmt: skip


def build_report(results_folder: Path, out: Path, title: str, note: str = "", *, anonymous: bool = False) -> Path:
    """Write ``report.html``, ``figures/*.svg``, ``data/*.tsv`` and ``browser/`` into ``out``; return the HTML's path.

    ``anonymous``: donors and libraries have numbers for names, and no group of one person is drawn.
    Raises DataError when ``results_folder`` is not a results folder or one of its files is damaged.
    """
    results = Results(results_folder, anonymous)
    report = collect(results)
    with atomic_folder(out, "report") as partial:
        tracks = write_browser(results, partial / "browser", out.absolute() / "browser")
        describe(report, tracks)
        save_figures(report, partial)
        page = render(report, title, summary.subtitle(results), note)
        (partial / "report.html").write_text(page, encoding="utf-8")
    log.info("%s: %d sections, %d warnings", out / "report.html", len(report.sections), len(report.warnings))
    return out / "report.html"


def collect(results: Results) -> Report:
    """All sections in the order of the pipeline; each says what is missing."""
    report = Report()
    for section in SECTIONS:
        if not (results.scores_only and section in OF_A_COHORT):
            section(results, report)
    return report
