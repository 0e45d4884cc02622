"""Quality of a cohort of libraries: filtering summary, where the signal is, correlation between libraries, donor identity."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.inputs.excluded import read_excluded, write_excluded
from allelegro.intervals import Regions
from allelegro.io.atomic import atomic_folder
from allelegro.io.documents import read_document
from allelegro.io.metrics import NO_MODEL, metric_row, write_metrics
from allelegro.io.signal import StrandedSignal
from allelegro.io.tables import COUNT, NAME, TEXT, read_table, write_table
from allelegro.procap.counts import CountsStore
from allelegro.procap.donors import KINDS as MATCH_KINDS
from allelegro.procap.regions import read_tss
from allelegro.statistics import ranks

log = logging.getLogger(__name__)

_INTERVAL = {"chrom": NAME, "start": COUNT, "end": COUNT}


@dataclass(frozen=True)
class LibraryFiles:
    """What is known of one library; None where a file is absent."""

    report: dict[str, Any] | None
    coverage: StrandedSignal | None
    peaks: pd.DataFrame | None
    elements: pd.DataFrame | None
    match: pd.DataFrame | None


def write_library_qc(
    counts: Path,
    folders: Sequence[Path],
    out: Path,
    *,
    tss: Path | None = None,
    tss_distance: int = 300,
    stop_on_swap: bool = False,
) -> list[str]:
    """Write the cohort's tables into the folder ``out`` and return one line about each library that is not its donor's.

    ``folders`` hold any of ``LIBRARY.qc.json``, ``LIBRARY.{plus,minus}.bw``, ``LIBRARY.peaks.bed``, ``LIBRARY.elements.bed`` and
    ``LIBRARY.donors.tsv``; figures that need an absent file are NA. Their ``*.excluded.tsv``, with the libraries that the store
    excluded, become ``excluded.tsv``. With ``stop_on_swap`` a swap raises DataError after writing.
    """
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; check the path")
    store = CountsStore.open(counts)
    names = store.libraries["library"].tolist()
    files = {name: _find(name, folders) for name in names}
    contigs = {contig: 0 for found in files.values() if found.coverage for contig in found.coverage.contigs}
    sites = read_tss(tss, tss_distance, contigs) if tss else None
    libraries = store.libraries.merge(
        pd.DataFrame([_figures(name, files[name], sites) for name in names]), on="library", validate="1:1"
    )
    totals = store.counts().sum(axis=2)
    libraries["share_in_windows"] = totals.sum(axis=0) / libraries["total_reads"]
    correlation = correlate(totals / libraries["size_factor"].to_numpy())
    pairs = _pairs(libraries, correlation)
    donors, swaps = name_swaps(pd.concat([found.match for found in files.values() if found.match is not None] or
                                         [pd.DataFrame(columns=list(MATCH_KINDS))], ignore_index=True))  # fmt: skip
    libraries = libraries.merge(donors[["library", "best_donor", "concordance", "verdict"]], on="library", how="left")
    libraries["best_donor"] = libraries["best_donor"].fillna("")  # NA may be a donor's name
    filtering = pd.DataFrame(
        [{"library": name, "step": step["step"], "reads": step["reads"]}
         for name, found in files.items() if found.report for step in found.report["steps"]],
        columns=["library", "step", "reads"],
    )  # fmt: skip
    curve = pd.DataFrame(
        [{"library": name, "reads": reads, "distinct": distinct}
         for name, found in files.items() for reads, distinct in ((found.report or {}).get("complexity") or {}).get("curve", [])],
        columns=["library", "reads", "distinct"],
    )  # fmt: skip
    matrix = pd.DataFrame(correlation["pearson"], columns=names)
    matrix.insert(0, "library", names)
    reasons = read_excluded(folders) | store.excluded
    with atomic_folder(out, "library-qc") as folder:
        write_excluded(reasons, folder / "excluded.tsv")
        write_table(libraries, folder / "libraries.tsv")
        write_table(filtering, folder / "read_fates.tsv")
        write_table(curve, folder / "complexity.tsv")
        write_table(matrix, folder / "correlation.tsv")
        write_table(pairs, folder / "replicates.tsv")
        write_table(donors, folder / "donors.tsv")
        write_metrics(_metrics(libraries, pairs, len(reasons)), folder / "metrics.tsv")
        _write_multiqc(folder / "multiqc", libraries, filtering, curve, matrix)
    for line in swaps:
        log.warning("%s", line)
    if swaps and stop_on_swap:
        raise DataError(f"{'; '.join(swaps)}; correct the library sheet, or drop --stop-on-swap")
    return swaps


# ----------------------------------------------------------------------------------------------- one library's figures


def _find(library: str, folders: Sequence[Path]) -> LibraryFiles:
    def path(suffix: str) -> Path | None:
        return next(
            (folder / f"{library}{suffix}" for folder in folders if (folder / f"{library}{suffix}").is_file()), None
        )

    report, plus, minus = path(".qc.json"), path(".plus.bw"), path(".minus.bw")
    peaks, elements, match = path(".peaks.bed"), path(".elements.bed"), path(".donors.tsv")
    return LibraryFiles(
        read_document(report, ["strands", "steps"], "procap_coverage.py") if report else None,
        StrandedSignal((plus, minus)) if plus and minus else None,
        read_table(peaks, _INTERVAL | {"strand": TEXT}, allow_empty=True) if peaks else None,
        read_table(elements, _INTERVAL, allow_empty=True) if elements else None,
        read_table(match, MATCH_KINDS) if match else None,
    )


def _figures(library: str, files: LibraryFiles, tss: Regions | None) -> dict[str, Any]:
    """One row of the libraries table."""
    row: dict[str, Any] = {"library": library}
    if files.report is not None:
        row |= _report_figures(files.report)
    row["peaks"] = None if files.peaks is None else len(files.peaks)
    row["elements"] = None if files.elements is None else len(files.elements)
    if files.coverage is not None:
        row |= _signal_figures(files.coverage, files.peaks, files.elements, tss)
    return row


def _report_figures(report: Mapping[str, Any]) -> dict[str, Any]:
    strands, steps, ends = report["strands"], report["steps"], report.get("five_prime")
    counted, given = strands["plus"] + strands["minus"], steps[0]["reads"]
    row = {"reads_given": given, "reads_counted": counted, "share_counted": counted / given if given else None,
           "plus_share": strands["plus"] / counted if counted else None}  # fmt: skip
    if complexity := report.get("complexity"):
        row |= {key: complexity[key] for key in ("unit", "distinct", "duplication", "estimated_total")}
        row["share_clipped_g"] = (
            ends["soft_clipped_one_g"] / complexity["reads"] if ends and complexity["reads"] else None
        )
    return row


def _signal_figures(
    coverage: StrandedSignal, peaks: pd.DataFrame | None, elements: pd.DataFrame | None, tss: Regions | None
) -> dict[str, Any]:
    """Shares of 5' ends in peaks of their strand, in divergent elements (of those in peaks), and near annotated TSSs."""
    by_strand = None if peaks is None else [Regions.of(peaks[peaks["strand"] == strand]) for strand in "+-"]
    divergent = None if elements is None else Regions.of(elements)
    total = in_peaks = in_elements = near_tss = 0
    for contig in coverage.contigs:
        for strand, counts in enumerate(coverage.counts(contig)):
            total += int(counts.counts.sum())
            if by_strand is not None:
                inside = by_strand[strand].contain(contig, counts.positions)
                in_peaks += int(counts.counts[inside].sum())
                if divergent is not None:
                    both = inside & divergent.contain(contig, counts.positions)
                    in_elements += int(counts.counts[both].sum())
            if tss is not None:
                near_tss += int(counts.counts[tss.contain(contig, counts.positions)].sum())
    row: dict[str, Any] = {}
    if by_strand is not None:
        row["share_in_peaks"] = in_peaks / total if total else None
        if divergent is not None:
            row["divergent_share"] = in_elements / in_peaks if in_peaks else None
    if tss is not None:
        row["share_at_tss"] = near_tss / total if total else None
    return row


# ------------------------------------------------------------------------------------------------- between libraries


def correlate(signal: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Pearson (of log2(1 + signal)) and Spearman correlations between the columns of ``signal`` ``[window, library]``."""
    with np.errstate(invalid="ignore"):
        return {
            "pearson": np.corrcoef(np.log2(1 + signal), rowvar=False).reshape(signal.shape[1], -1),
            "spearman": np.corrcoef(np.apply_along_axis(ranks, 0, signal), rowvar=False).reshape(signal.shape[1], -1),
        }


def _pairs(libraries: pd.DataFrame, correlation: Mapping[str, NDArray[np.float64]]) -> pd.DataFrame:
    """Correlations of libraries of one donor."""
    rows = []
    for donor, members in libraries.groupby("donor", sort=False):
        for place, first in enumerate(members.index):
            for second in members.index[place + 1 :]:
                rows.append(
                    {
                        "donor": donor,
                        "library_1": libraries["library"][first],
                        "library_2": libraries["library"][second],
                    }
                    | {kind: float(values[first, second]) for kind, values in correlation.items()}
                )
    return pd.DataFrame(rows, columns=["donor", "library_1", "library_2", "pearson", "spearman"])


def name_swaps(matches: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """One row a library from all match tables (best and claimed donor, call, note), and a line about each mismatch."""
    rows = []
    for library, table in matches.groupby("library", sort=False):
        best, donor = table.iloc[0], str(table["donor"].iloc[0])
        claimed = table[table["candidate"].astype(str) == donor]
        rows.append(
            {"library": str(library), "donor": donor, "best_donor": str(best["candidate"]), "verdict": best["verdict"],
             "concordance": claimed["concordance"].iloc[0] if len(claimed) else None,
             "best_concordance": best["concordance"], "log10_odds": best["log10_odds"], "sites": best["sites"]}
        )  # fmt: skip
    columns = ["library", "donor", "best_donor", "verdict", "concordance", "best_concordance", "log10_odds", "sites"]
    donors = pd.DataFrame(rows, columns=columns)
    swapped = donors[donors["verdict"] == "swap"]
    lines, notes = [], dict.fromkeys(donors["library"], "")
    for row in swapped.itertuples():
        mutual = (swapped["donor"] == row.best_donor) & (swapped["best_donor"] == row.donor)
        partners = ", ".join(swapped.loc[mutual, "library"])
        notes[str(row.library)] = f"swapped with {partners}" if partners else f"reads are those of {row.best_donor}"
        lines.append(
            f"library {row.library} is said to be of {row.donor} but its reads are those of {row.best_donor}"
            + (f": swapped with {partners}" if partners else "")
        )
    for row in donors[donors["verdict"] == "no donor fits"].itertuples():
        notes[str(row.library)] = "mixed, or of a donor who is not in the VCF"
    donors["note"] = donors["library"].map(notes)
    return donors, lines


# ------------------------------------------------------------------------------------------------------------ writing


_LIBRARY_METRICS = (
    "total_reads", "size_factor", "share_counted", "plus_share", "duplication", "estimated_total", "share_clipped_g", "peaks",
    "elements", "share_in_windows", "share_in_peaks", "divergent_share", "share_at_tss", "concordance",
)  # fmt: skip


def _metrics(libraries: pd.DataFrame, pairs: pd.DataFrame, excluded: int) -> list[dict[str, Any]]:
    """Tidy metrics: one row a library and figure, then replicates, the cohort's swaps and excluded libraries."""
    rows = []

    def add(dataset: str, subset: str, metric: str, value: Any, n: int) -> None:
        if value is not None and not pd.isna(value):
            rows.append(metric_row("procap", dataset, NO_MODEL, subset, metric, (value, None, None, n)))

    for record in libraries.to_dict("records"):
        for metric in _LIBRARY_METRICS:
            add(str(record["library"]), "library", metric, record.get(metric), record["total_reads"])
    for pair in pairs.itertuples():
        for metric in ("pearson", "spearman"):
            add(f"{pair.library_1}|{pair.library_2}", "replicates", metric, getattr(pair, metric), 2)
    for value, metric in (("swap", "swapped_libraries"), ("no donor fits", "libraries_without_fitting_donor")):
        if libraries["verdict"].notna().any():
            add("cohort", "all", metric, int((libraries["verdict"] == value).sum()), len(libraries))
    add("cohort", "all", "libraries_left_out", excluded, len(libraries) + excluded)
    return rows


def _write_multiqc(
    folder: Path, libraries: pd.DataFrame, filtering: pd.DataFrame, curve: pd.DataFrame, matrix: pd.DataFrame
) -> None:
    """The same figures as MultiQC custom content (``*_mqc.json``)."""
    folder.mkdir()

    def write(name: str, title: str, plot: str, data: Any, **more: Any) -> None:
        content = {"id": f"procap_{name}", "section_name": title, "plot_type": plot, **more, "data": data}
        (folder / f"procap_{name}_mqc.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")

    by_library = {str(row.pop("library")): row for row in json.loads(libraries.to_json(orient="records"))}
    write(
        "libraries",
        "PRO-cap libraries",
        "table",
        by_library,
        pconfig={"id": "procap_libraries_table", "title": "PRO-cap libraries"},
    )
    if len(filtering):
        lost = {str(library): _lost(rows) for library, rows in filtering.groupby("library", sort=False)}
        write(
            "read_fates",
            "PRO-cap filtering summary",
            "bargraph",
            lost,
            pconfig={"id": "procap_fates_plot", "title": "Filtering summary"},
        )
    if len(curve):
        lines = {str(library): {str(int(r)): int(d) for r, d in zip(rows["reads"], rows["distinct"], strict=True)}
                 for library, rows in curve.groupby("library", sort=False)}  # fmt: skip
        write("complexity", "PRO-cap library complexity", "linegraph", lines,
              pconfig={"id": "procap_complexity_plot", "title": "Complexity", "xlab": "Reads", "ylab": "Distinct"})  # fmt: skip
    names = matrix["library"].tolist()
    values = [
        [None if np.isnan(value) else round(float(value), 5) for value in row] for row in matrix[names].to_numpy()
    ]
    write("correlation", "PRO-cap correlation of libraries", "heatmap", values, xcats=names, ycats=names,
          pconfig={"id": "procap_correlation_plot", "title": "Correlation of libraries"})  # fmt: skip


def _lost(filtering: pd.DataFrame) -> dict[str, int]:
    """Reads lost at each step of one library, and those that came through."""
    steps, reads = filtering["step"].tolist(), filtering["reads"].tolist()
    lost = {
        f"lost at: {step}": before - after for step, before, after in zip(steps[1:], reads, reads[1:], strict=False)
    }
    return {step: number for step, number in lost.items() if number} | {"counted": reads[-1]}
