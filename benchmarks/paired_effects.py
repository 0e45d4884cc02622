#!/usr/bin/env python3
"""How much better one model's variant effects are than the others', paired: differences of Pearson r with intervals.

    benchmarks/paired_effects.py --points results/effects/benchmarks/truth.points.tsv.gz --model legnet

Variants with gaps of up to 10 kb (a locus and what is near it) are resampled together, as in the pipeline's own metrics.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bin"))

import pandas as pd

from allelegro.effects.benchmark import clusters_of
from allelegro.statistics import paired_bootstrap

COLUMNS = ["chrom", "pos", "ref", "alt", "group", "measured", "significant", "matched", "seen"]
CLUSTER_DISTANCE = 10_000


def main() -> None:
    """Print the differences over all variants and over the significant ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=Path, required=True)
    parser.add_argument("--model", default="legnet")
    options = parser.parse_args()
    points = pd.read_csv(options.points, sep="\t")
    others = [name for name in points.columns if name not in COLUMNS and name != options.model]
    for subset, rows in {"all": points, "significant": points[points["significant"] == 1]}.items():
        clusters = clusters_of(rows, CLUSTER_DISTANCE)
        for other in others:
            gain = paired_bootstrap(rows[options.model], rows[other], rows["measured"], clusters=clusters)
            print(
                f"{subset} n {gain.n}: {options.model} - {other} {gain.value:+.3f} [{gain.ci_low:+.3f}, {gain.ci_high:+.3f}]"
            )


if __name__ == "__main__":
    main()
