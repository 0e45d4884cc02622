#!/usr/bin/env python3
"""Whether the trust that scores are given is right, on a simulated cohort whose true effects are known.

    benchmarks/trust.py --sim WORK/sim --windows WORK/windows.bed --checkpoint WORK/models/personal.0 --chromosome chr1 --out WORK/trust

Runs the tools as a user would. Variants of the cohort that the models did not see are scored with null quantiles. Half of
the loci give measured effects (simulated MPRA) or true ones, which calibrate the probability of a right sign; in the other half this
probability is compared with the true signs: expected calibration error in tenths, of all variants and of each class of
place, next to what a perfect probability would have with as many variants. Variants placed at random in the windows have no effect beyond chance: their null quantiles are compared with the
uniform distribution (Kolmogorov-Smirnov), by class.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from haplotypes import REPOSITORY
from numpy.typing import NDArray
from scipy.stats import kstest

sys.path.insert(0, str(REPOSITORY / "bin"))

from allelegro.effects.trust import SignCalibration, random_snvs, read_points, sign_classes
from allelegro.effects.windows import Genome
from allelegro.io.windows import read_windows

KEY = ["chrom", "pos", "ref", "alt"]
TARGET = 0.05
MODEL = "model"
NEAR = {"near": "yes", "far": "no", "outside": "outside"}
FEWEST = 100  # variants of a class whose calibration is looked at


def main() -> None:
    """Print one table: what was measured, its value and what is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sim", type=Path, required=True, help="cohort of simulate_cohort.py")
    parser.add_argument("--windows", type=Path, required=True, help="windows that the models were trained on")
    parser.add_argument("--checkpoint", type=Path, action="append", required=True, help="model; repeat for seeds")
    parser.add_argument("--out", type=Path, required=True, help="folder for tables")
    parser.add_argument("--chromosome", required=True, help="chromosome that the models did not see")
    parser.add_argument("--variants", type=int, default=4000, help="variants, and as many random ones")
    parser.add_argument("--null", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = signs(options) + quantiles(options)
    print(pd.DataFrame(rows, columns=["measured", "class", "value", "wanted", "n"]).to_string(index=False))


def run(tool: str, *arguments: object) -> None:
    """One tool of ``bin``, or the end with what it says."""
    command = [sys.executable, str(REPOSITORY / "bin" / f"{tool}.py"), *map(str, arguments)]
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode:
        raise SystemExit(f"{tool}: {finished.stderr}")


def score(options: argparse.Namespace, variants: pd.DataFrame, name: str, null: int) -> pd.DataFrame:
    """Scores of variants by the models, as the tool writes them."""
    given, out = options.out / f"{name}.variants.tsv", options.out / f"{name}.scores.tsv"
    variants[KEY].to_csv(given, sep="\t", index=False)
    models = [word for path in options.checkpoint for word in ("--checkpoint", path)]
    run(
        "score_variants", *models, "--name", MODEL, "--variants", given, "--fasta", options.sim / "genome.fa", "--windows",
        options.windows, "--null", null, "--out", out, "--device", "cpu", "--seed", options.seed,
    )  # fmt: skip
    return pd.read_csv(out, sep="\t", dtype={"chrom": str})


def signs(options: argparse.Namespace) -> list[tuple[str, str, float, str, int]]:
    """Expected calibration error of the probability of a right sign, calibrated in half of the loci, in the other half."""
    truth = pd.read_csv(options.sim / "truth" / "effects.tsv", sep="\t", dtype={"chrom": str})
    truth = truth[(truth["chrom"] == options.chromosome) & (truth["effect"] != 0)].head(options.variants)
    scores = score(options, truth, "signs", 0).merge(truth[[*KEY, "effect", "element"]], on=KEY, suffixes=("", "_true"))
    measured, points = options.sim / "truth" / "mpra.tsv", options.out / "points.tsv"
    run(
        "benchmark_variants", "--truth", measured, "--kind", "mpra", "--dataset", "mpra", "--scores", options.out / "signs.scores.tsv", "--out",
        options.out / "metrics.tsv", "--points", points, "--n-boot", 100,
    )  # fmt: skip
    known = pd.read_csv(points, sep="\t", dtype={"chrom": str}).merge(truth[[*KEY, "element", "effect"]], on=KEY)
    exact = scores.dropna(subset=["effect"]).assign(
        measured=lambda rows: rows["effect_true"], significant=np.nan,
        near=lambda rows: pd.Series(sign_classes(rows["view"], rows["distance"]), rows.index).map(NEAR), group="",
        **{MODEL: lambda rows: rows["effect"]},
    )  # fmt: skip
    return [
        row
        for kind, table in (("measured effects (MPRA)", known), ("true effects", exact))
        for row in errors(options, kind, table, scores)
    ]


def errors(
    options: argparse.Namespace, kind: str, known: pd.DataFrame, scores: pd.DataFrame
) -> list[tuple[str, str, float, str, int]]:
    """Calibrated on ``known`` effects of one half of the elements, compared with true signs in the other; both ways."""
    elements = scores["element"].unique()
    half = set(np.random.default_rng(options.seed).permutation(elements)[: len(elements) // 2])
    parts = []
    for fitted in (half, set(elements) - half):
        own = options.out / "calibration.points.tsv"
        columns = [*KEY, "group", "measured", "significant", "near", MODEL]
        known.loc[known["element"].isin(fitted), columns].to_csv(own, sep="\t", index=False, na_rep="NA")
        table = read_points([own], MODEL)
        curves = SignCalibration.fit(
            table["effect"].to_numpy(float), table["right"].to_numpy(float), table["class"].to_numpy(str)
        )
        rest = scores[~scores["element"].isin(fitted) & scores["effect"].notna() & (scores["effect"] != 0)]
        group = sign_classes(rest["view"], rest["distance"])
        p = curves.probability(rest["effect"].to_numpy(float), group)
        hit = np.sign(rest["effect"]) == np.sign(rest["effect_true"])
        parts.append(pd.DataFrame({"p": p, "hit": hit.to_numpy(float), "class": group}))
    found = pd.concat(parts).dropna()
    rng = np.random.default_rng(options.seed)
    rows = []
    for label in ("all", *found["class"].unique()):
        chosen = found[(found["class"] == label) | (label == "all")]
        if len(chosen) < FEWEST:
            continue
        p = chosen["p"].to_numpy(float)
        chance = [error_of(p, (rng.random(p.size) < p).astype(float)) for _ in range(200)]
        error = round(error_of(p, chosen["hit"].to_numpy(float)), 3)
        wanted = f"< {TARGET}; {np.mean(chance):.3f} if perfect"
        rows.append((f"calibration error, from {len(known):,} {kind}", label, error, wanted, p.size))
    return rows


def error_of(p: NDArray[np.float64], hit: NDArray[np.float64]) -> float:
    """Expected calibration error over tenths of the probability."""
    tenths = np.array_split(np.argsort(p, kind="stable"), 10)
    return float(np.mean([abs(p[rows].mean() - hit[rows].mean()) for rows in tenths]))


def quantiles(options: argparse.Namespace) -> list[tuple[str, str, float, str, int]]:
    """Kolmogorov-Smirnov p of the null quantiles of variants that are random themselves."""
    windows = read_windows(options.windows, folds=False)
    windows = windows[windows["chrom"] == options.chromosome].reset_index(drop=True)
    genome = Genome(options.sim / "genome.fa")
    snvs = random_snvs(pd.DataFrame(), windows, genome, 115, options.variants // 6, options.seed + 1)
    scores = score(options, snvs.drop_duplicates(KEY), "null", options.null)
    scores = scores[scores["null_quantile"].notna()]
    rows = []
    for label in ("all", *sorted(set(sign_classes(scores["view"], scores["distance"])))):
        chosen = scores[(sign_classes(scores["view"], scores["distance"]) == label) | (label == "all")]
        p = float(kstest(chosen["null_quantile"], "uniform").pvalue)
        rows.append(("KS p of the null quantile", label, round(p, 3), "> 0.01", len(chosen)))
    return rows


if __name__ == "__main__":
    main()
