"""Haplotypes: variants used and dropped, distinct sequences per window, donors and their relatedness."""

import numpy as np
import pandas as pd

from allelegro.report import plots
from allelegro.report.report import Figure, Report, Table
from allelegro.report.results import Results

KINSHIP = "KING-robust: 0.5 is the same person, 0.25 parent and child or full siblings, 0 or less unrelated."


def haplotypes(results: Results, report: Report) -> None:
    """What the haplotype store holds and what was dropped from it."""
    section = report.section("haplotypes", "Haplotypes")
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
    related = _relatedness(results, report)
    section.show(related) if isinstance(related, Table) else section.say(related)
    if results.anonymous:
        section.say("Ancestry is not drawn: each of its points would be one person, and this report is anonymous.")
    else:
        section.show(_components(results))


def _histogram(results: Results) -> Figure | None:
    if results.haplotype_store is None:
        return None
    return plots.histogram(
        "haplotypes-per-window",
        "Distinct haplotypes per window",
        "The reference sequence included; few distinct sequences serve all donors.",
        pd.Series(np.diff(results.haplotype_store.offsets)),
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


def _relatedness(results: Results, report: Report) -> Table | str:
    """Related pairs; close relatives or one person twice make a split by donor leak."""
    table = results.table("genotype", "qc", "relatedness.tsv")
    if table is None:
        return "Relatedness between donors was not estimated."
    if table.empty:
        return "No two donors are related (KING-robust kinship)."
    close = table[table["degree"].isin(["duplicate", "first"])]
    if len(close):
        pairs = ", ".join(f"{row.donor_1} and {row.donor_2}" for row in close.head(5).itertuples())
        report.warn(
            f"Donors that look like close relatives or one person twice: {pairs}{', …' if len(close) > 5 else ''}; "
            "keep such pairs on one side of the split between training and test donors."
        )
    return Table("Related donors, closest first", table.head(20), {"kinship": KINSHIP})


def _components(results: Results) -> Figure | None:
    table = results.table("genotype", "qc", "principal_components.tsv")
    if table is None or not {"PC1", "PC2"} <= set(table.columns):
        return None
    return plots.density_panels(
        "ancestry-components",
        "Ancestry",
        "Principal components of genotypes; one point a donor.",
        {"donors": (table["PC1"], table["PC2"])},
        "PC1",
        "PC2",
        correlation=False,
    )
