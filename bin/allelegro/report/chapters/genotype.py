"""Haplotypes: variants used and dropped, distinct sequences per window, donors and their relatedness."""

import numpy as np
import pandas as pd

from allelegro.report import plots
from allelegro.report.book import Book, Figure, Table
from allelegro.report.results import Results


def haplotypes(results: Results, book: Book) -> None:
    """What the haplotype store holds and what was left out of it."""
    section = book.section("haplotypes", "Haplotypes")
    store = results.haplotypes
    if store is None:
        section.say("No haplotype store was made in this run.")
        return
    carried, distinct = store["haplotypes"], store["distinct_haplotypes"]
    section.say(
        f"{len(store['donors'])} donors carry {carried:,} haplotypes in {store['windows']:,} windows of {store['width']} bp; "
        f"{distinct:,} are distinct and were stored, trained on and scored once ({carried / max(distinct, 1):.1f} times fewer)."
    )
    section.show(_histogram(results))
    section.show(_dropped(store))
    donors = results.table("genotype", "qc", "donors.tsv")
    if donors is not None:
        section.show(Table("Donors", donors))
    section.show(_relatedness(results))
    section.show(_components(results))


def _histogram(results: Results) -> Figure | None:
    path = results.path("genotype", "haplotypes", "offsets.npy")
    if not path.is_file():
        return None
    rows = np.diff(np.load(path))
    return plots.histogram(
        "haplotypes-per-window",
        "Distinct haplotypes per window",
        "The reference sequence included; few distinct sequences serve all donors.",
        pd.Series(rows),
        "distinct haplotypes",
    )


def _dropped(store: dict[str, object]) -> Table:
    dropped: dict[str, int] = dict(store.get("dropped", {}))  # type: ignore[call-overload]
    genotypes: dict[str, int] = dict(store.get("genotypes", {}))  # type: ignore[call-overload]
    rows = [
        ("alleles", "used", store["variants"]),
        *(("alleles dropped", why.replace("_", " "), n) for why, n in dropped.items()),
    ]
    rows += [("genotypes", kind.replace("_", " "), n) for kind, n in genotypes.items()]
    return Table("Variants and genotypes", pd.DataFrame(rows, columns=["of", "what", "count"]))


def _relatedness(results: Results) -> Figure | None:
    table = results.table("genotype", "qc", "relatedness.tsv")
    if table is None or not {"donor_1", "donor_2", "kinship"} <= set(table.columns):
        return None
    both = pd.concat([table, table.rename(columns={"donor_1": "donor_2", "donor_2": "donor_1"})])
    matrix = both.pivot_table(index="donor_1", columns="donor_2", values="kinship")
    return plots.heat_map(
        "relatedness",
        "Relatedness between donors",
        "KING-robust kinship: 0.25 is parent and child or siblings, 0.5 the same person, 0 or below unrelated.",
        matrix,
        "kinship",
        diverging=True,
    )


def _components(results: Results) -> Figure | None:
    table = results.table("genotype", "qc", "components.tsv")
    if table is None or not {"PC1", "PC2"} <= set(table.columns):
        return None
    return plots.density_panels(
        "ancestry-components",
        "Ancestry",
        "Principal components of genotypes; one point a donor.",
        {"donors": (table["PC1"], table["PC2"])},
        "PC1",
        "PC2",
    )
