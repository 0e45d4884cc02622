"""Results folder → book → files."""

import logging
from pathlib import Path

from allelegro.io.atomic import atomic_folder
from allelegro.report.html import render
from allelegro.report.report import Book, save_figures
from allelegro.report.results import Results
from allelegro.report.sections import effects, genotype, loci, overview, procap, provenance, training

log = logging.getLogger(__name__)


def build_report(results_folder: Path, out: Path, title: str) -> Path:
    """Write ``report.html``, ``figures/*.svg`` and ``data/*.tsv`` into ``out``; return the HTML's path.

    Raises DataError when ``results_folder`` is not a results folder or one of its files is damaged.
    """
    results = Results(results_folder)
    book = write_book(results)
    with atomic_folder(out, "report.html") as partial:
        save_figures(book, partial)
        (partial / "report.html").write_text(render(book, title, overview.subtitle(results)), encoding="utf-8")
    report = out / "report.html"
    log.info("%s: %d sections, %d warnings", report, len(book.sections), len(book.warnings))
    return report


def write_book(results: Results) -> Book:
    """All chapters in the order of the pipeline; each says what is missing."""
    book = Book()
    for chapter in (
        overview.schemes,
        procap.libraries,
        procap.peaks,
        genotype.haplotypes,
        training.curves,
        training.held_out,
        effects.variant_effects,
        loci.example_loci,
        provenance.methods,
        provenance.provenance,
        provenance.glossary,
    ):
        chapter(results, book)
    overview.summary(results, book)
    return book
