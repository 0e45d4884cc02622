"""The published MPRA-LegNet protocol for allele-specific sources (human_legnet's variant_annotation notebook).

Its data score is −log2(min FDR + 1e-10) with the sign of the preferred allele; its model score the difference of the mean
predictions, with p = Φ(−|score| / sd), sd = √((mean var_ref + mean var_alt) / N) over the N models and strands. Signs are
those of this project (positive: alternative allele), which changes none of its figures. ``protocol_pearson`` is what it prints as R2.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.effects.measured import FDR_FLOOR, FDR_POSITIVE
from allelegro.statistics import Estimate, fisher_exact, mean_ci, pearson_ci

MAX_PREDICTED_P = 0.05


def predicted_p(effect: NDArray[np.float64], spread: pd.DataFrame) -> NDArray[np.float64]:
    """One-sided p of predicted effects from the spread of the predictions (``ref_sd alt_sd n_predictions``).

    NaN throughout when the model is no ensemble, for then there is no spread.
    """
    from scipy.stats import norm

    variance = (spread["ref_sd"] ** 2).mean() + (spread["alt_sd"] ** 2).mean()
    sd = np.sqrt(variance / spread["n_predictions"].mean())
    if not sd > 0:
        return np.full(effect.size, np.nan)
    return np.asarray(norm.cdf(-np.abs(effect) / sd))


def legnet_protocol(
    effect: NDArray[np.float64], evidence: NDArray[np.float64], spread: pd.DataFrame, n_boot: int, seed: int
) -> dict[tuple[str, str], Estimate]:
    """The protocol's table of one model: (subset, metric) to figure.

    Subsets ``all``, ``fdr`` (FDR < 0.05) and ``fdr_and_predicted`` (predicted p < 0.05 too; absent without a spread).
    """
    fdr = np.abs(evidence) > -np.log2(FDR_POSITIVE + FDR_FLOOR)
    predicted = fdr & (predicted_p(effect, spread) < MAX_PREDICTED_P)
    rows = {("all", "protocol_pearson"): pearson_ci(effect, evidence, n_boot=n_boot, seed=seed)}
    for subset, mask in (("fdr", fdr), ("fdr_and_predicted", predicted)):
        if mask.sum() < 3:
            continue
        up, measured_up = effect[mask] > 0, evidence[mask] > 0
        counts = [[int((up & measured_up).sum()), int((up & ~measured_up).sum())]]
        counts.append([int((~up & measured_up).sum()), int((~up & ~measured_up).sum())])
        odds = fisher_exact(counts)
        rows[subset, "protocol_pearson"] = pearson_ci(effect[mask], evidence[mask], n_boot=n_boot, seed=seed)
        rows[subset, "protocol_concordance"] = mean_ci((up == measured_up).astype(float), n_boot=n_boot, seed=seed)
        rows[subset, "protocol_odds_ratio"] = Estimate(odds.value, odds.ci_low, odds.ci_high, odds.n)
        rows[subset, "protocol_fisher_p"] = Estimate(odds.p, np.nan, np.nan, odds.n)
    return rows
