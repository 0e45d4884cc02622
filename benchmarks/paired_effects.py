#!/usr/bin/env python3
"""How much better one model's variant effects are than the others', paired: differences of Pearson r with intervals.

    benchmarks/paired_effects.py --points results/effects/benchmarks/truth.points.tsv.gz --model legnet

Variants of one stretch of 10 kb (a locus and what is linked to it) are resampled together; percentile intervals of 500
replicates.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

COLUMNS = ["chrom", "pos", "ref", "alt", "group", "measured", "significant", "matched", "seen"]


def differences(points: pd.DataFrame, model: str, others: list[str], replicates: int) -> pd.DataFrame:
    """Rows ``other difference ci_low ci_high`` of r(model) − r(other) with the measured effects."""
    place = (points["chrom"] + ":" + (points["pos"] // 10_000).astype(str)).factorize()[0]
    members = [np.flatnonzero(place == number) for number in range(place.max() + 1)]
    rng = np.random.default_rng(0)

    def gains(rows: pd.DataFrame) -> list[float]:
        r = rows[[model, *others]].corrwith(rows["measured"])
        return [r[model] - r[other] for other in others]

    resampled = [
        gains(points.iloc[np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])])
        for _ in range(replicates)
    ]
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    return pd.DataFrame({"other": others, "difference": gains(points), "ci_low": low, "ci_high": high})


def main() -> None:
    """Print the differences over all variants and over the significant ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=Path, required=True)
    parser.add_argument("--model", default="legnet")
    parser.add_argument("--replicates", type=int, default=500)
    options = parser.parse_args()
    points = pd.read_csv(options.points, sep="\t")
    others = [name for name in points.columns if name not in COLUMNS and name != options.model]
    for subset, rows in {"all": points, "significant": points[points["significant"] == 1]}.items():
        for row in differences(rows, options.model, others, options.replicates).itertuples():
            print(
                f"{subset} n {len(rows)}: {options.model} - {row.other} {row.difference:+.3f} [{row.ci_low:+.3f}, {row.ci_high:+.3f}]"
            )


if __name__ == "__main__":
    main()
