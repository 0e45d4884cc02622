"""The genotype page's tables: what was used and dropped, donors, relatedness, ancestry, distinct haplotypes."""

from pathlib import Path

import numpy as np
import pandas as pd

from allelegro.genotype.relatedness import ancestry, kinship_pairs
from allelegro.genotype.store import HaplotypeStore
from allelegro.io.atomic import atomic_folder
from allelegro.io.metrics import NO_MODEL, metric_row, write_metrics
from allelegro.io.tables import write_table


def write_summary(store: HaplotypeStore, out: Path, min_kinship: float, seed: int) -> None:
    """Write ``windows.tsv donors.tsv dropped.tsv haplotypes_per_window.tsv relatedness.tsv principal_components.tsv
    metrics.tsv`` into the folder ``out``.

    ``relatedness.tsv`` lists the pairs of donors whose kinship is above ``min_kinship`` with 95 % confidence; principal components need
    ``ENOUGH_SNVS`` common SNVs in different windows and at least three donors.
    """
    windows = summarise_windows(store)
    donors = donor_table(store)
    pairs, degrees, n_snvs = kinship_pairs(store, min_kinship, seed)
    components, shares, n_common = ancestry(store, seed)
    dropped = pd.DataFrame(store.fact("dropped").items(), columns=["reason", "alleles"])
    histogram = windows["distinct_haplotypes"].value_counts().sort_index().rename_axis("distinct_haplotypes")
    with atomic_folder(out, "genotype-report") as folder:
        write_table(windows, folder / "windows.tsv")
        write_table(donors, folder / "donors.tsv")
        write_table(dropped, folder / "dropped.tsv")
        write_table(histogram.rename("windows").reset_index(), folder / "haplotypes_per_window.tsv")
        write_table(pairs, folder / "relatedness.tsv")
        write_table(components, folder / "principal_components.tsv")
        rows = _metrics(store, windows, donors) + [
            _metric("related_pairs", count, n_snvs, subset=name) for name, count in degrees.items()
        ]
        rows += [_metric("variance_share", share, n_common, subset=f"PC{k}") for k, share in enumerate(shares, 1)]
        write_metrics(rows, folder / "metrics.tsv")


def donor_table(store: HaplotypeStore) -> pd.DataFrame:
    """Genotype counts of each donor with ``heterozygosity`` (of called genotypes) and ``missingness``."""
    table = store.donor_counts.copy()
    records = table["called"] + table["missing"] + table["half_missing"]
    table["heterozygosity"] = table["heterozygous"] / table["called"].where(table["called"] > 0)
    table["missingness"] = (table["missing"] + table["half_missing"]) / records.where(records > 0)
    return table


def summarise_windows(store: HaplotypeStore) -> pd.DataFrame:
    """One row a window: ``name chrom start end distinct_haplotypes variants heterozygosity private_haplotypes
    reference_share``.

    ``variants`` are alleles that any haplotype of the window carries; ``heterozygosity`` is the share of donors whose two
    sequences differ; ``private_haplotypes`` are carried by one donor alone; ``reference_share`` is that of haplotypes
    equal to the reference.
    """
    rows = np.diff(store.offsets)
    heterozygosity, private, reference, variants = (np.zeros(len(store)) for _ in range(4))
    for window, index in enumerate(store.index):
        first, second = index[:, 0], index[:, 1]
        differs = first != second
        carriers = np.bincount(first, minlength=rows[window]) + np.bincount(second[differs], minlength=rows[window])
        heterozygosity[window] = differs.mean()
        private[window] = (carriers[1:] == 1).sum()
        reference[window] = (index == 0).mean()
        low, high = store.allele_offsets[store.offsets[window : window + 2]]
        variants[window] = len(np.unique(store.alleles[low:high]))
    table = store.windows[["name", "chrom", "start", "end"]].copy()
    table["distinct_haplotypes"] = rows
    table["variants"] = variants.astype(int)
    table["heterozygosity"] = heterozygosity
    table["private_haplotypes"] = private.astype(int)
    table["reference_share"] = reference
    return table


def _metric(name: str, value: float, n: int, subset: str = "all") -> dict[str, object]:
    return metric_row("genotype", "cohort", NO_MODEL, subset, name, (value, None, None, n))


def _metrics(store: HaplotypeStore, windows: pd.DataFrame, donors: pd.DataFrame) -> list[dict[str, object]]:
    per_window = windows["distinct_haplotypes"]
    n, distinct = len(store), len(store.sequences)
    haplotypes = n * len(store.donors) * 2
    return [
        _metric("donors", len(store.donors), len(store.donors)),
        _metric("windows", n, n),
        _metric("haplotypes", haplotypes, n),
        _metric("distinct_haplotypes", distinct, n),
        _metric("compression", haplotypes / distinct, n),
        _metric("distinct_per_window_median", per_window.median(), n),
        _metric("distinct_per_window_max", per_window.max(), n),
        _metric("window_heterozygosity", windows["heterozygosity"].mean(), n),
        _metric("alleles_read", store.fact("alleles_read"), n),
        _metric("variants_used", store.fact("variants"), n),
        _metric("not_left_aligned", store.fact("not_left_aligned"), n),
        _metric("phase_set_changes", store.fact("phase_set_changes"), n),
        _metric("heterozygosity", donors["heterozygosity"].mean(), len(donors)),
        _metric("missingness", donors["missingness"].mean(), len(donors)),
        *(_metric("dropped_alleles", count, n, subset=reason) for reason, count in store.fact("dropped").items()),
        *(_metric("genotypes", count, n, subset=kind) for kind, count in store.fact("genotypes").items()),
    ]
