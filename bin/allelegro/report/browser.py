"""Tracks for a genome browser, and an IGV session that opens them all."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pandas as pd

from allelegro.io.atomic import atomic_path
from allelegro.io.bigwig import BigWig, write_bigwig
from allelegro.report.report import Report, Section, Table
from allelegro.report.results import Results
from allelegro.report.sections.variants import place, top_variants

SESSION = "session.xml"
PREDICTED_SPAN = 100  # central bp of a window that carry its predicted value
MOST_VARIANTS = 50_000  # of a set in its BED, those with the largest effects
UP, DOWN, OBSERVED = "207,74,90", "47,127,193", "110,120,130"


@dataclass(frozen=True)
class Track:
    """A file of the session: its path relative to the session, what it shows, its colour (``r,g,b``)."""

    path: str
    name: str
    what: str
    colour: str = OBSERVED


def write_browser(results: Results, folder: Path, home: Path) -> list[Track]:
    """Write tracks and ``session.xml`` into ``folder``; returns the tracks, none where nothing has a place on a genome.

    ``home`` is where ``folder`` will be: paths to other results are relative to it.
    """
    lengths = contig_lengths(results)
    parts = (_windows, _predicted, _importance, _variants, _allelic_events)
    tracks = [track for part in parts for track in part(results, folder, lengths)]
    tracks += _observed(results, home)
    if tracks:
        with atomic_path(folder / SESSION) as partial:
            partial.write_text(session(tracks, _genome(results, home), _locus(results)), encoding="utf-8")
    return tracks


def describe(report: Report, tracks: list[Track]) -> None:
    """The section that says which tracks there are and how to open them, before the methods."""
    if not tracks:
        return
    section = Section("browser", "Genome browser")
    section.say(
        f"browser/{SESSION}, next to this file, opens all of these tracks in IGV (File, Open Session). Paths in it are relative, so "
        "that it works wherever the results folder is."
    )
    rows = [(track.path.rpartition("/")[2], track.name, track.what) for track in tracks]
    section.show(Table("Tracks", pd.DataFrame(rows, columns=["file", "track", "content"])))
    anchors = [one.anchor for one in report.sections]
    report.sections.insert(anchors.index("methods") if "methods" in anchors else len(anchors), section)


def contig_lengths(results: Results) -> dict[str, int]:
    """Contigs of the run: from a coverage file, else as far as windows, variants and regions reach."""
    for path in sorted(results.path("procap", "coverage").glob("*.plus.bw"))[:1]:
        return dict(BigWig(path).contigs)
    lengths: dict[str, int] = {}
    tables = [results.windows, results.table("effects", "saturation", "saturation.tsv")]
    for table in tables:
        if table is not None and len(table):
            ends = table.groupby(table["chrom"].astype(str))["end" if "end" in table else "pos"].max()
            for name, end in ends.items():
                lengths[str(name)] = max(lengths.get(str(name), 0), int(end))
    return lengths


def _observed(results: Results, home: Path) -> Iterator[Track]:
    """The coverage of each library, as the run publishes it next to its QC; it is a person's, so not in an anonymous report."""
    if results.anonymous:
        return
    for document in results.library_qc:
        for strand, colour in (("plus", DOWN), ("minus", UP)):
            path = results.path("procap", "coverage", f"{document['library']}.{strand}.bw")
            where = os.path.relpath(path, home)
            yield Track(where, f"{document['library']} {strand}", "observed 5′ ends, raw counts", colour)


def _windows(results: Results, folder: Path, lengths: dict[str, int]) -> Iterator[Track]:
    windows = results.windows
    if windows is not None and len(windows):
        held = windows["fold"].isin(results.test_folds)
        table = windows[["chrom", "start", "end", "name"]].assign(
            score=np.where(held, 1000, 300), strand=".", thick_start=windows["start"], thick_end=windows["end"],
            colour=np.where(held, "35,151,107", OBSERVED),
        )  # fmt: skip
        _write_bed(table, folder / "windows.bed")
        yield Track("windows.bed", "windows", "windows; green: held out for testing", "35,151,107")


def _predicted(results: Results, folder: Path, lengths: dict[str, int]) -> Iterator[Track]:
    """Predicted and observed signal of each window, the mean over donors, at its centre."""
    table, windows = results.predictions, results.windows
    if table is None or windows is None:
        return
    models = [str(name) for name in table if name not in ("window", "donor", "fold", "cell")]
    means = table.groupby(table["window"].astype(str))[models].mean()
    placed = windows.assign(name=windows["name"].astype(str)).set_index("name").join(means, how="inner")
    middle = ((placed["start"] + placed["end"]) // 2).to_numpy(np.int64)
    for model in models:
        values = placed[model].to_numpy(float)
        known = np.isfinite(values)
        if known.any():
            path = f"{'observed' if model == 'observed' else f'predicted.{_slug(model)}'}.windows.bw"
            spans = (middle[known, None] - PREDICTED_SPAN // 2 + np.arange(PREDICTED_SPAN)).ravel()
            _write_signal(folder / path, lengths, placed["chrom"][known].repeat(PREDICTED_SPAN), spans, values[known].repeat(PREDICTED_SPAN))  # fmt: skip
            what = "observed" if model == "observed" else f"predicted by {model}"
            yield Track(path, f"RPM {what}", f"RPM of each window, mean over donors, {what}, drawn at its centre", UP if model != "observed" else OBSERVED)  # fmt: skip


def _importance(results: Results, folder: Path, lengths: dict[str, int]) -> Iterator[Track]:
    """Minus the mean effect of changing each base of the saturated windows."""
    table = results.table("effects", "saturation", "saturation.tsv")
    if table is not None and len(table) and lengths:
        snvs = table[table["alt"].isin(list("ACGT"))]
        means = -snvs.groupby([snvs["chrom"].astype(str), "pos"])["effect"].mean()
        chrom, pos = (means.index.get_level_values(level) for level in (0, 1))
        _write_signal(
            folder / "importance.bw", lengths, pd.Series(chrom), pos.to_numpy(np.int64) - 1, means.to_numpy(float)
        )
        yield Track(
            "importance.bw", "importance", "log2 activity that a base adds, from saturation mutagenesis", "138,102,189"
        )


def _variants(results: Results, folder: Path, lengths: dict[str, int]) -> Iterator[Track]:
    """Scored variants, red where the alternative allele increases activity and blue where it decreases it."""
    for name, table in results.scored_sets.items():
        yield from _effects(folder, name, top_variants(table), "best_score", "effects by the best model (log2)")
    personal = results.roles.get("personal")
    elsewhere = {
        str(one["name"])
        for one in (results.document("inputs", "inputs.json") or {}).get("variant_sets", [])
        if one.get("genome")
    }
    for name, points in results.benchmark_points.items():
        if name in elsewhere:  # on an assembly of its own
            continue
        for column, what in ((personal, "predicted"), ("measured", "measured")):
            if column in points:
                title = f"{name}, {what} effects" + (f" by {column} (log2)" if what == "predicted" else "")
                yield from _effects(folder, f"{name}.{what}", points.dropna(subset=[column]), str(column), title)


def _effects(folder: Path, name: str, rows: pd.DataFrame, column: str, what: str) -> Iterator[Track]:
    rows = rows[~rows["chrom"].astype(str).isin([".", ""])]
    if rows.empty:
        return
    effects = rows[column].to_numpy(float)
    kept = np.sort(np.argsort(-np.abs(effects), kind="stable")[:MOST_VARIANTS])
    rows, effects = rows.iloc[kept], effects[kept]
    start = rows["pos"].to_numpy(np.int64) - 1
    end = start + rows["ref"].astype(str).str.len().clip(lower=1).to_numpy()
    strongest = float(np.abs(effects).max()) or 1.0
    ids = rows["id"].astype(str) if "id" in rows else pd.Series(".", rows.index)
    labels = [
        re.sub(r"\s+", "_", f"{place(row)}_{effect:+.2f}" if known in (".", "", "nan") else f"{known}_{effect:+.2f}")
        for (_, row), known, effect in zip(rows.iterrows(), ids, effects, strict=True)
    ]
    table = pd.DataFrame(
        {
            "chrom": rows["chrom"].astype(str).to_numpy(), "start": start, "end": end, "name": labels,
            "score": np.round(1000 * np.abs(effects) / strongest).astype(int), "strand": ".", "thick_start": start,
            "thick_end": end, "colour": np.where(effects > 0, UP, DOWN),
        }
    )  # fmt: skip
    path = f"{_slug(name)}.bed"
    _write_bed(table, folder / path)
    yield Track(path, name, what, UP)


def _allelic_events(results: Results, folder: Path, lengths: dict[str, int]) -> Iterator[Track]:
    """Variants whose alleles donors read unequally, where the run counted alleles."""
    table = results.allelic_events
    if table is not None:
        significant = table[table["significant"] == "yes"]
        what = "variants with allelic imbalance, log2 alt/ref"
        yield from _effects(folder, "allelic_events", significant, "effect", what)


def _write_signal(
    path: Path,
    lengths: dict[str, int],
    chrom: pd.Series,
    positions: np.ndarray,
    values: np.ndarray,
) -> None:
    """One value a base, where windows overlap the first one's; contigs that are not in ``lengths`` have none."""
    table = pd.DataFrame({"chrom": chrom.astype(str).to_numpy(), "pos": positions, "value": values})
    table = table[(table["pos"] >= 0) & (table["pos"] < table["chrom"].map(lengths))]
    table = table.drop_duplicates(["chrom", "pos"]).sort_values(["chrom", "pos"], kind="stable")
    signal = {
        str(name): (rows["pos"].to_numpy(np.int64), rows["value"].to_numpy(float))
        for name, rows in table.groupby("chrom")
    }
    write_bigwig(path, lengths, signal)


def _write_bed(table: pd.DataFrame, path: Path) -> None:
    ordered = table.sort_values(["chrom", "start"], kind="stable")
    with atomic_path(path) as partial:
        ordered.to_csv(partial, sep="\t", header=False, index=False)


def session(tracks: list[Track], genome: str, locus: str) -> str:
    """The text of an IGV session."""
    resources = "\n".join(f"    <Resource path={quoteattr(track.path)}/>" for track in tracks)
    drawn = "\n".join(
        f"    <Track id={quoteattr(track.path)} name={quoteattr(track.name)} color={quoteattr(track.colour)}"
        + (' autoScale="true" renderer="BAR_CHART"' if track.path.endswith(".bw") else ' displayMode="EXPANDED"')
        + "/>"
        for track in tracks
    )
    at = f" locus={quoteattr(locus)}" if locus else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n<Session genome={quoteattr(genome)}{at} version="8">\n'
        f'  <Resources>\n{resources}\n  </Resources>\n  <Panel name="Tracks">\n{drawn}\n  </Panel>\n</Session>\n'
    )


def _genome(results: Results, home: Path) -> str:
    """The FASTA of the run: a simulated one next to the tracks, else where the parameters say; hg38 where nothing does."""
    if results.truth is not None:
        return os.path.relpath(results.path("inputs", "simulated", "genome.fa"), home)
    return str((results.document("pipeline_info", "params.json") or {}).get("genome") or "hg38")


def _locus(results: Results) -> str:
    """Where the session opens: the top scored variant, else the first held-out window."""
    for table in results.scored_sets.values():
        top = top_variants(table).head(1)
        for _, row in top.iterrows():
            return f"{row['chrom']}:{max(int(row['pos']) - 250, 1)}-{int(row['pos']) + 250}"
    windows = results.windows
    if windows is None or windows.empty:
        return ""
    held = windows[windows["fold"].isin(results.test_folds)] if results.test_folds else windows
    first = (held if len(held) else windows).iloc[0]
    return f"{first['chrom']}:{int(first['start']) + 1}-{int(first['end'])}"


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)
