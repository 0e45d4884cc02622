"""One row a variant: the score to use of all that a run's models gave, how far to trust it, and what is known of the place."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from allelegro.effects.annotation import GENE_COLUMNS, StartSites
from allelegro.effects.benchmark import CONTROLS
from allelegro.effects.motifs import MOTIF_COLUMNS, Motif, motif_changes
from allelegro.effects.score_files import read_scores
from allelegro.effects.trust import SignCalibration, calibration_table, read_points, sign_classes
from allelegro.effects.variants import SCORED, VARIANT_COLUMNS
from allelegro.effects.windows import Genome
from allelegro.errors import DataError
from allelegro.io.vcf import read_frequencies
from allelegro.statistics import pearson

CALIBRATION_COLUMNS = ["model", "class", "bin", "predicted", "observed", "n"]
_FROM_BEST = [
    "effect_sd", "effect_sd_models", "null_quantile", "ref_prediction", "alt_prediction", "view", "window", "distance",
    "effect_element", "effect_centred", "ref_sd", "alt_sd", "seen",
]  # fmt: skip
_IF_THERE = ("null_quantile", "ref_sd", "alt_sd", "seen")
SUMMARY_COLUMNS = [
    *VARIANT_COLUMNS, "rsid", "af", "rank", "best_score", "best_model", "sign_probability", *_FROM_BEST, "window_expression",
    *GENE_COLUMNS, *MOTIF_COLUMNS, "status", "reason",
]  # fmt: skip

logger = logging.getLogger(__name__)


def read_models(paths: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """Scores of one variant set by model; DataError when their variants differ or a model comes twice.

    Where a table does not say what training saw, ``seen`` is ``unknown``.
    """
    models: dict[str, pd.DataFrame] = {}
    first: pd.DataFrame | None = None
    for path in paths:
        table = read_scores(path)
        needed = [name for name in (*_FROM_BEST, "status", "reason") if name not in _IF_THERE]
        missing = [name for name in needed if name not in table]
        if missing:
            raise DataError(f"{path}: column {missing[0]} is missing; give a table of score_variants.py")
        if "seen" not in table:
            table = table.assign(seen="unknown")
        for name, rows in table.groupby("model", sort=False):
            if str(name) in models:
                raise DataError(f"{path}: model {name} is there already; give each model once")
            rows = rows.reset_index(drop=True)
            first = rows if first is None else first
            if not rows[VARIANT_COLUMNS].equals(first[VARIANT_COLUMNS]):
                raise DataError(f"{path}: its variants are not those of {paths[0]}; give scores of one variant set")
            models[str(name)] = rows
    return models


def best_first(models: Sequence[str], points: Sequence[Path]) -> list[str]:
    """Models by their mean r with measured effects that they did not see, best first.

    Without measured effects ``legnet`` comes first, then other models of interest, then controls.
    """
    by_name = sorted(
        models, key=lambda name: (name != "legnet", bool(CONTROLS.fullmatch(name)), list(models).index(name))
    )
    quality: dict[str, float] = {}
    for name in models:
        tables = [table for path in points if len(table := read_points([path], name)) >= 3]
        found = [pearson(table["effect"], table["measured"]) for table in tables]
        if np.isfinite(found).any():
            quality[name] = float(np.nanmean(found))
    ordered = sorted(by_name, key=lambda name: -quality.get(name, -np.inf)) if quality else by_name
    told = ", ".join(f"{name} {quality[name]:.3f}" for name in ordered if name in quality)
    logger.info("best score: %s (%s)", ordered[0], f"mean r with measured effects: {told}" if told else "by name")
    return ordered


def summarise(
    models: Mapping[str, pd.DataFrame],
    points: Sequence[Path],
    expression: pd.Series | None = None,
    start_sites: StartSites | None = None,
    vcf: Path | None = None,
    motifs: tuple[Genome, Sequence[Motif]] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``SUMMARY_COLUMNS`` and one ``effect_MODEL`` column a model; and the calibration of signs (``CALIBRATION_COLUMNS``).

    ``best_score`` is the effect by the best model (:func:`best_first`) of those that scored the variant and whose training
    did not see its place, where there is one, else of those that scored it (``seen`` is then ``yes``). ``rank`` is its place
    by size among them (1 is the largest, a repeated variant has none), ``sign_probability`` how likely its sign is right:
    calibrated on variants that training did not see, so only of such. What shows top variants takes them by ``rank``.
    ``expression`` is what is observed in each window, by its name.
    """
    order = best_first(list(models), points)
    table = models[order[0]][VARIANT_COLUMNS].copy()
    best = _best_rows(models, order)
    calibrations = {name: _calibrated(points, name) for name in order}
    table = table.assign(
        rsid=table["id"].where(table["id"].astype(str).str.match(r"rs\d+"), "."), af=np.nan,
        best_score=best["effect"], best_model=best["model"].where(best["status"] == SCORED, "."),
        rank=_ranks(best), sign_probability=np.nan, window_expression=np.nan, status=best["status"], reason=best["reason"],
        **{name: best.get(name, np.nan) for name in _FROM_BEST},
    )  # fmt: skip
    groups = sign_classes(best["view"], best["distance"])
    for name, (curves, _) in calibrations.items():
        own = ((table["best_model"] == name) & (table["seen"] != "yes")).to_numpy()
        if own.any():
            effect = best["effect"].to_numpy(float)[own]
            table.loc[own, "sign_probability"] = curves.probability(effect, groups[own])
    if expression is not None:
        table["window_expression"] = table["window"].map(expression)
    genes = (
        start_sites.nearest(table) if start_sites else pd.DataFrame({"gene": ".", "tss_distance": np.nan}, table.index)
    )
    table = table.assign(**{name: genes[name] for name in GENE_COLUMNS})
    changes = (
        motif_changes(table, *motifs)
        if motifs
        else pd.DataFrame({"motif": ".", "motif_change": ".", "motif_bits": np.nan}, table.index)
    )
    table = table.assign(**{name: changes[name] for name in MOTIF_COLUMNS})
    if vcf is not None:
        table["af"] = _frequencies(vcf, len(table))
    effects = pd.DataFrame({f"effect_{name}": rows["effect"] for name, rows in models.items()})
    bins = [part.assign(model=name)[CALIBRATION_COLUMNS] for name, (_, part) in calibrations.items() if len(part)]
    calibration = pd.concat(bins, ignore_index=True) if bins else pd.DataFrame(columns=CALIBRATION_COLUMNS)
    return pd.concat([table[SUMMARY_COLUMNS], effects], axis=1), calibration


def _best_rows(models: Mapping[str, pd.DataFrame], order: Sequence[str]) -> pd.DataFrame:
    """Of each variant the row of the first model in order whose training did not see it, else of the first that scored it."""
    best = models[order[0]].copy()
    for name in order[1:]:
        rows = models[name]
        better = _worth(rows) > _worth(best)
        best.loc[better] = rows.loc[better]
    return best


def _worth(rows: pd.DataFrame) -> pd.Series:
    """0 without a score, 1 for one of a place that training saw, 2 for the others."""
    return (rows["status"] == SCORED).astype(int) * (2 - (rows["seen"] == "yes").astype(int))


def _ranks(best: pd.DataFrame) -> pd.Series:
    """Places of the variants by the size of their effect, each variant once, the first of equals first; NaN for others."""
    sizes = best["effect"].abs().where(~best.duplicated(["chrom", "pos", "ref", "alt"]))
    return sizes.rank(method="first", ascending=False)


def _calibrated(points: Sequence[Path], model: str) -> tuple[SignCalibration, pd.DataFrame]:
    table = read_points(points, model)
    effect, right, group = (table[name].to_numpy() for name in ("effect", "right", "class"))
    effect, right, group = effect.astype(float), right.astype(float), group.astype(str)
    return SignCalibration.fit(effect, right, group), calibration_table(effect, right, group)


def _frequencies(vcf: Path, rows: int) -> list[float]:
    """INFO/AF of each alternative allele of a VCF, in its order; DataError when it has other alleles than the scores."""
    found = [value for values in read_frequencies(vcf) for value in values]
    if len(found) != rows:
        raise DataError(f"{vcf}: {len(found):,} alleles, but {rows:,} scores; give the VCF that was scored")
    return found
