"""Reads that tell a donor's haplotypes apart: reference share of each library, and variants with allelic imbalance."""

import numpy as np
import pandas as pd

from allelegro.report import plots
from allelegro.report.report import Figure, Report, Table
from allelegro.report.results import Results

MOST_EVENTS = 500
MOST_WINDOWS = 20
OF_WINDOW = [
    "window", "chrom", "start", "end", "alleles_1", "alleles_2", "effect", "donors", "count_1", "count_2", "fdr",
]  # fmt: skip
ABOUT = {
    "reference share": "Share of allelic reads that carry the reference base; 0.5 without mapping bias.",
    "before": "Over all heterozygous sites with reads.",
    "after": "Over the sites that are used, after exclusions.",
}


def allelic_reads(results: Results, report: Report) -> None:
    """Reference share of each library before and after exclusions, and the table of allelic events."""
    if results.windows is None:
        return
    section = report.section("alleles", "Allelic reads")
    documents, events = results.allelic_counts, results.allelic_events
    if not documents and events is None:
        section.say(
            "Reads were not told apart by haplotype in this run: that needs reads (BAM, CRAM or FASTQ) and phased genotypes. Imbalance "
            "between the two alleles of a donor, which no library size, batch or trans effect disturbs, is therefore not shown."
        )
        return
    if documents:
        section.say(
            "A read that carries a phased heterozygous SNV says which haplotype it came from. Without mapping bias half of such reads "
            "carry the reference base."
        )
        table = _shares(documents)
        section.show(_figure(table))
        section.show(Table("Allelic reads by library", table, ABOUT))
    if events is not None:
        significant = int((events["significant"] == "yes").sum())
        section.say(
            f"{len(events):,} variants were tested for allelic imbalance over donors; {significant:,} are significant."
        )
        shown = events.sort_values("fdr", kind="stable").head(MOST_EVENTS)
        title = "Allelic events" + (
            f", the first {MOST_EVENTS} of {len(events):,}" if len(events) > MOST_EVENTS else ""
        )
        section.show(Table(title, shown, folded=False, search=True))
    windows = results.allelic_windows
    if windows is not None and len(windows):
        imbalanced = windows[windows["significant"] == "yes"]
        section.say(
            f"{len(windows):,} pairs of haplotypes in {windows['window'].nunique():,} windows were tested over all reads of the "
            f"window and the donors that carry the pair; {len(imbalanced):,} are significant. The effect is log2 of "
            "haplotype 2 over haplotype 1 (0 is the reference)."
        )
        first = imbalanced.sort_values("fdr", kind="stable").head(MOST_WINDOWS)
        section.show(
            Table(f"Windows with allelic imbalance, the first {len(first):,}", first[OF_WINDOW]) if len(first) else None
        )


def _shares(documents: list[dict[str, object]]) -> pd.DataFrame:
    rows = []
    for document in documents:
        shares: dict[str, dict[str, float]] = document.get("reference_share") or {}  # type: ignore[assignment]
        sites: dict[str, int] = document.get("sites") or {}  # type: ignore[assignment]
        reads: dict[str, int] = document.get("reads") or {}  # type: ignore[assignment]
        after = shares.get("after") or {}
        rows.append(
            {
                "library": document["library"],
                "reads of a haplotype": reads.get("assigned to a haplotype"),
                "sites with reads": sites.get("with reads"),
                "sites used": sites.get("used"),
                "before": (shares.get("before") or {}).get("share"),
                "after": after.get("share"),
                "n": after.get("ref", 0) + after.get("alt", 0),
            }
        )
    return pd.DataFrame(rows).astype({"before": float, "after": float, "n": float})


def _figure(table: pd.DataFrame) -> Figure | None:
    """The share after exclusions with its 95 % interval, the share before as a second mark."""
    spread = 1.96 * np.sqrt(table["after"] * (1 - table["after"]) / table["n"])
    after = pd.DataFrame(
        {"label": table["library"], "value": table["after"], "ci_low": table["after"] - spread, "ci_high": table["after"] + spread, "n": table["n"]}
    )  # fmt: skip
    before = pd.DataFrame(
        {
            "label": table["library"] + " before",
            "value": table["before"],
            "ci_low": np.nan,
            "ci_high": np.nan,
            "n": np.nan,
        }
    )
    rows = pd.concat([before, after]).sort_index(kind="stable").reset_index(drop=True)
    return plots.forest(
        "reference-share",
        "Reference share of allelic reads",
        "Share of reads over heterozygous sites that carry the reference base, over all sites (before) and over those used, with its binomial 95 % interval; 0.5 (dashed) is no bias.",
        rows,
        "reference share",
        zero=0.5,
    )
