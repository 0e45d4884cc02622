"""The genotype page's tables: what was used and dropped, donors, relatedness, ancestry, distinct haplotypes."""

from pathlib import Path

import numpy as np
import pandas as pd

from allelegro.genotype.relatedness import DEGREES, Floats, degree, king_robust, principal_components
from allelegro.genotype.store import HaplotypeStore
from allelegro.genotype.summary import dosages, summarise_windows
from allelegro.io.atomic import atomic_folder
from allelegro.io.metrics import write_metrics
from allelegro.io.tables import write_table

MAX_SNVS = 50_000  # for relatedness: the estimate's error is below 0.01 long before
COMPONENTS = 10
ENOUGH_SNVS = 100
CONFIDENCE = 1.96
COMMON = 0.05


def write_report(store: HaplotypeStore, out: Path, min_kinship: float, seed: int) -> None:
    """Write ``windows.tsv donors.tsv dropped.tsv haplotypes_per_window.tsv relatedness.tsv principal_components.tsv
    metrics.tsv`` into the folder ``out``.

    ``relatedness.tsv`` lists the pairs of donors whose kinship is above ``min_kinship`` with 95 % confidence; principal components need
    ``ENOUGH_SNVS`` common SNVs in different windows and at least three donors.
    """
    windows = summarise_windows(store)
    donors = donor_table(store)
    kinship, error, n_snvs = relatedness(store, seed)
    pairs = related_pairs(store.donors, kinship, error, n_snvs, min_kinship)
    components, shares, n_common = ancestry(store)
    dropped = pd.DataFrame(store.metadata["dropped"].items(), columns=["reason", "alleles"])
    histogram = windows["distinct_haplotypes"].value_counts().sort_index().rename_axis("distinct_haplotypes")
    with atomic_folder(out, "metrics.tsv") as folder:
        write_table(windows, folder / "windows.tsv")
        write_table(donors, folder / "donors.tsv")
        write_table(dropped, folder / "dropped.tsv")
        write_table(histogram.rename("windows").reset_index(), folder / "haplotypes_per_window.tsv")
        write_table(pairs, folder / "relatedness.tsv")
        write_table(components, folder / "principal_components.tsv")
        rows = _metrics(store, windows, donors) + _kinship_metrics(kinship - CONFIDENCE * error, n_snvs)
        rows += [_metric("variance_share", share, n_common, subset=f"PC{k}") for k, share in enumerate(shares, 1)]
        write_metrics(rows, folder / "metrics.tsv")


def donor_table(store: HaplotypeStore) -> pd.DataFrame:
    """Genotype counts of each donor with ``heterozygosity`` (of called genotypes) and ``missingness``."""
    table = store.donor_counts.copy()
    records = table["called"] + table["missing"] + table["half_missing"]
    table["heterozygosity"] = table["heterozygous"] / table["called"].where(table["called"] > 0)
    table["missingness"] = (table["missing"] + table["half_missing"]) / records.where(records > 0)
    return table


def relatedness(store: HaplotypeStore, seed: int) -> tuple[Floats, Floats, int]:
    """KING-robust kinship of all pairs, its error and the number of SNVs (at most ``MAX_SNVS``, drawn at random)."""
    snvs = _snvs(store)
    if len(snvs) > MAX_SNVS:
        snvs = np.sort(np.random.default_rng(seed).choice(snvs, MAX_SNVS, replace=False))
    return *king_robust(dosages(store, snvs)), len(snvs)


def related_pairs(donors: list[str], kinship: Floats, error: Floats, n_snvs: int, min_kinship: float) -> pd.DataFrame:
    """Pairs above ``min_kinship`` with 95 % confidence, the closest first: ``donor_1 donor_2 kinship se degree snvs``.

    The degree is that of the lower bound.
    """
    first, second = np.triu_indices(len(donors), 1)
    values, errors = kinship[first, second], error[first, second]
    sure = values - CONFIDENCE * errors
    kept = np.flatnonzero(sure > min_kinship)
    kept = kept[np.argsort(-values[kept], kind="stable")]
    names = np.array(donors, dtype=object)
    return pd.DataFrame(
        {
            "donor_1": names[first[kept]],
            "donor_2": names[second[kept]],
            "kinship": values[kept],
            "se": errors[kept],
            "degree": [degree(value) for value in sure[kept]],
            "snvs": n_snvs,
        }
    )


def ancestry(store: HaplotypeStore) -> tuple[pd.DataFrame, np.ndarray, int]:
    """Principal components of common SNVs, one a window: scores (``donor PC1 …``), shares of variance, SNVs used.

    Without enough SNVs or donors the table holds the donors alone.
    """
    table = pd.DataFrame({"donor": store.donors})
    snvs = _snvs(store)
    dosage = dosages(store, snvs)
    frequency = dosage.mean(axis=1) / 2
    common = (frequency >= COMMON) & (frequency <= 1 - COMMON)
    snvs, dosage = snvs[common], dosage[common]
    # One SNV a window: neighbours in linkage would count one locus several times.
    site = store.variants.iloc[snvs]
    _, one_each = np.unique(site["chrom"] + ":" + (site["start"] // store.width).astype(str), return_index=True)
    if len(one_each) < ENOUGH_SNVS or len(store.donors) < 3:
        return table, np.zeros(0), len(one_each)
    scores, shares = principal_components(dosage[one_each], min(COMPONENTS, len(store.donors) - 1))
    for k in range(scores.shape[1]):
        table[f"PC{k + 1}"] = scores[:, k]
    return table, shares, len(one_each)


def _snvs(store: HaplotypeStore) -> np.ndarray:
    variants = store.variants
    return np.flatnonzero((variants["end"] - variants["start"] == 1) & (variants["bases"].str.len() == 1))


def _metric(name: str, value: float, n: int, subset: str = "all") -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(("ci_low", "ci_high"))
    return {
        "stage": "genotype",
        "dataset": "cohort",
        "model": None,
        "subset": subset,
        "metric": name,
        "value": value,
        "n": n,
        **row,
    }


def _metrics(store: HaplotypeStore, windows: pd.DataFrame, donors: pd.DataFrame) -> list[dict[str, object]]:
    facts, per_window = store.metadata, windows["distinct_haplotypes"]
    n = len(store)
    return [
        _metric("donors", len(store.donors), len(store.donors)),
        _metric("windows", n, n),
        _metric("haplotypes", facts["haplotypes"], n),
        _metric("distinct_haplotypes", facts["distinct_haplotypes"], n),
        _metric("compression", facts["haplotypes"] / facts["distinct_haplotypes"], n),
        _metric("distinct_per_window_median", per_window.median(), n),
        _metric("distinct_per_window_max", per_window.max(), n),
        _metric("window_heterozygosity", windows["heterozygosity"].mean(), n),
        _metric("alleles_read", facts["alleles_read"], n),
        _metric("variants_used", facts["variants"], n),
        _metric("not_left_aligned", facts["not_left_aligned"], n),
        _metric("phase_set_changes", facts["phase_set_changes"], n),
        _metric("heterozygosity", donors["heterozygosity"].mean(), len(donors)),
        _metric("missingness", donors["missingness"].mean(), len(donors)),
        *(_metric("dropped_alleles", count, n, subset=reason) for reason, count in facts["dropped"].items()),
        *(_metric("genotypes", count, n, subset=kind) for kind, count in facts["genotypes"].items()),
    ]


def _kinship_metrics(kinship: np.ndarray, n_snvs: int) -> list[dict[str, object]]:
    values = kinship[np.triu_indices(len(kinship), 1)]
    values = values[np.isfinite(values)]
    degrees = pd.Series([degree(value) for value in values]).value_counts()
    return [_metric("related_pairs", int(degrees.get(name, 0)), n_snvs, subset=name) for name in DEGREES]
