"""Libraries, their quality, peaks and windows."""

from pathlib import Path

import numpy as np
import pandas as pd

from allelegro.report import plots
from allelegro.report.report import Figure, Report, Section, Table
from allelegro.report.results import Results

# What fits a page; all columns are in procap/qc/libraries.tsv.
LIBRARY_COLUMNS = (
    "library", "donor", "reads_given", "reads_counted", "size_factor", "plus_share", "duplication", "peaks", "elements",
    "share_in_peaks", "share_in_windows", "divergent_share", "share_at_tss",
)  # fmt: skip


def libraries(results: Results, report: Report) -> None:
    """What became of the reads, correlation between libraries, complexity, and whether each library belongs to its donor."""
    section = report.section("libraries", "Libraries")
    if not results.library_qc:
        section.say("Coverage was not computed in this run: counts or windows were supplied.")
        return
    _excluded(results, report, section)
    section.show(_filtered_reads(results))
    section.show(_library_table(results))
    _correlation(results, section)
    _complexity(results, section)
    _donors(results, report, section)


def _excluded(results: Results, report: Report, section: Section) -> None:
    """Libraries that could not be used are named with their reasons, and first in the warnings."""
    table = results.table("procap", "qc", "excluded.tsv")
    if table is None or table.empty:
        return
    names = ", ".join(table["library"].astype(str).head(5)) + (", …" if len(table) > 5 else "")
    report.warn(
        f"{len(table)} of the libraries could not be used and were excluded ({names}): the reasons are under Libraries."
    )
    section.show(Table("Excluded libraries", table))


def _filtered_reads(results: Results) -> Figure | None:
    """What became of each library's alignments: counted, or dropped by reason."""
    rows = {}
    for document in results.library_qc:
        dropped = {reason: count for reason, count in document.get("dropped", {}).items() if count}
        rows[document["library"]] = {"counted": document["steps"][-1]["reads"], **dropped}
    table = pd.DataFrame.from_dict(rows, orient="index").fillna(0)
    return plots.stacked_bars(
        "alignments-by-filter",
        "Alignments counted and dropped",
        "Counted 5′ ends, and alignments dropped by reason.",
        table,
        "alignments",
    )


def _library_table(results: Results) -> Table | None:
    table = results.table("procap", "qc", "libraries.tsv")
    if table is None:
        return None
    shown = [name for name in LIBRARY_COLUMNS if name in table and (name != "duplication" or _molecules(results))]
    return Table("Libraries", table[shown])


def _molecules(results: Results) -> bool:
    """Whether UMIs tell molecules apart in every library: without them equal 5′ ends are no duplicates, but strong starts."""
    table = results.table("procap", "qc", "libraries.tsv")
    return table is not None and "unit" in table and bool(table["unit"].eq("molecules").all())


def _correlation(results: Results, section: Section) -> None:
    table = results.table("procap", "qc", "correlation.tsv")
    if table is None or len(table) < 2:
        return
    matrix = table.set_index(table.columns[0])
    section.show(
        plots.heat_map(
            "library-correlation",
            "Correlation between libraries",
            "Correlation of log counts over windows; replicates of one donor should be among the highest.",
            matrix,
            "r",
        )
    )


def _complexity(results: Results, section: Section) -> None:
    table = results.table("procap", "qc", "complexity.tsv")
    if table is None or table.empty:
        return
    molecules = _molecules(results)
    columns = [column for column in table.columns if column != "library"]
    series = {
        str(library): (rows[columns[0]].tolist(), rows[columns[1]].tolist())
        for library, rows in table.groupby("library")
    }
    section.show(
        plots.lines(
            "library-complexity",
            "Library complexity" if molecules else "Distinct start positions by depth",
            "Distinct molecules found as sequencing deepens; a curve that flattens is exhausted."
            if molecules
            else "Distinct 5′ positions found as sequencing deepens. Without UMIs molecules are not known: strong start sites repeat "
            "positions, so this is no measure of duplication.",
            series,
            columns[0].replace("_", " "),
            columns[1].replace("_", " "),
        )
    )


def _donors(results: Results, report: Report, section: Section) -> None:
    """Swapped samples are named here and in the warnings."""
    table = results.table("procap", "qc", "donors.tsv")
    if table is None or table.empty:
        section.say("Whether libraries belong to their donors was not checked: that needs reads (BAM) and genotypes.")
        return
    section.show(Table("Does each library belong to its donor?", table))
    for row in table.to_dict("records"):
        if row["verdict"] == "swap":
            report.warn(
                f"Library {row['library']} is labelled {row['donor']}, but its reads are those of {row['best_donor']}: {row['note']}."
            )
        elif row["verdict"] == "no donor fits":
            report.warn(f"The reads of library {row['library']} fit no donor of the VCF: {row['note']}.")


def peaks(results: Results, report: Report) -> None:
    """Peaks per library, windows by fold and by number of reads."""
    section = report.section("peaks", "Peaks and windows")
    if results.windows is None:
        section.say("There are no windows in this run.")
        return
    _recall(results, section)
    merge = results.document("procap", "windows.json")
    if merge:
        steps = pd.DataFrame(merge["steps"])
        section.show(Table("From peaks to windows", steps))
    section.show(_fold_bars(results.windows, results.test_folds))
    section.show(_peak_bars(results))


def _fold_bars(windows: pd.DataFrame, tested: list[int]) -> Figure | None:
    counts = windows["fold"].value_counts().sort_index()
    counts.index = "fold " + counts.index.astype(str)
    return plots.stacked_bars(
        "windows-per-fold",
        "Windows by fold",
        f"Held out for testing: fold {', '.join(map(str, tested))}."
        if tested
        else "Whole folds are held out together.",
        counts.rename("windows").to_frame(),
        "windows",
    )


def _peak_bars(results: Results) -> Figure | None:
    """Divergent elements and strand-wise peaks of each library."""
    rows = {}
    for path in sorted(results.path("procap", "peaks").glob("*.peaks.bed")):
        library = path.name.removesuffix(".peaks.bed")
        elements = path.with_name(f"{library}.elements.bed")
        paired = 2 * _count_rows(elements) if elements.is_file() else 0
        rows[library] = {"paired into divergent elements": paired, "one strand only": _count_rows(path) - paired}
    table = pd.DataFrame.from_dict(rows, orient="index")
    if table.empty:
        return None
    return plots.stacked_bars(
        "peaks-per-library",
        "Peaks by library",
        "Strand-wise peaks: those that pair with one on the other strand, and the rest.",
        table,
        "peaks",
    )


def _count_rows(path: Path) -> int:
    with path.open(encoding="utf-8") as handle:
        return sum(1 for line in handle if not line.startswith("#"))


def _recall(results: Results, section: Section) -> None:
    """With a known truth: how many planted elements have a window, and how far its centre is."""
    elements = results.table("inputs", "simulated", "truth", "elements.tsv")
    windows = results.windows
    if elements is None or windows is None:
        return
    distances = []
    for chrom, planted in elements.groupby("chrom"):
        here = windows[windows["chrom"] == str(chrom)]
        centres = np.sort(((here["start"] + here["end"]) // 2).to_numpy())
        true = planted["centre"].to_numpy()
        distances.append(
            np.abs(true[:, None] - centres[None, :]).min(axis=1) if len(centres) else np.full(len(true), np.inf)
        )
    nearest = np.concatenate(distances)
    found = nearest <= int((windows["end"] - windows["start"]).iloc[0]) // 4
    section.say(
        f"Known truth: {found.sum():,} of {len(found):,} simulated elements have a window within a quarter of its width "
        f"(recall {found.mean():.2f}); the median distance of its centre is {np.median(nearest[found]):.0f} bp."
    )
