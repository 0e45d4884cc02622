#!/usr/bin/env python3
"""How the box's networks are asked, and what a table's own noise leaves: r with measured effects by choice of scoring.

    python benchmarks/scoring_choices.py --data DATA --work WORK --set abell --subset significant
    python benchmarks/scoring_choices.py --data DATA --work WORK --set dsqtl --sample 800

Each allele is put into random surroundings that both share. One pass gives every choice: an output alone or their mean,
the sequence in the middle of the insert or off it (``--shift``, bp), and the mean over these places. The ceiling is the
square root of the reliability that the standard errors of the table imply (their mean square against the variance of
the effects), so a model without error would have that r. WORK keeps the predictions.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bin"))

import numpy as np
import pandas as pd
import torch
from joint_lentimpra import CELLS, predictions
from real_effects import SOURCES
from scipy.stats import norm

from allelegro.effects.measured import read_measured
from allelegro.io.tables import GUESS, read_table
from allelegro.models.box import find_model
from allelegro.models.ensemble import members
from allelegro.statistics import mean_ci, pearson_ci, right_sign
from allelegro.training.settings import LEFT_ADAPTOR, RIGHT_ADAPTOR

INSERT = 200
LEAST_Z = 0.3  # an effect nearer to nothing does not say how large its error is
# Effect, its standard error or p-value, and what is significant.
ERRORS = {
    "dsqtl": ("Beta", "Std. Error", None, ("Pr(>|t|)", 1e-5)),
    "abell": ("log2FC", None, "pvalue", ("fdr", 0.05)),
    "k562_atac": ("comb_es", None, "comb_pval", ("fdr_comb_pval", 0.05)),
}


def main() -> None:
    """Predict what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--set", dest="name", choices=SOURCES, required=True)
    parser.add_argument("--subset", choices=("all", "significant"), default="all")
    parser.add_argument("--sample", type=int, help="so many variants at random; default: all")
    parser.add_argument("--shift", type=int, action="append", help="repeatable; default: 0, -25, 25")
    parser.add_argument("--surroundings", type=int, default=4, help="random sequences around alleles")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    source = SOURCES[options.name]
    table = read_measured(options.data / source.path, source.kind).table
    if options.subset == "significant":
        table = table[table["significant"] == 1]
    if options.sample is not None and options.sample < len(table):
        table = table.sample(options.sample, random_state=0)
    print_ceiling(options)
    shifts = options.shift or [0, -25, 25]
    effects = np.stack([at(options, table, shift) for shift in shifts])  # [shift, variant, output]
    choices = {f"{cell}, middle": effects[0, :, k] for k, cell in enumerate(CELLS)}
    choices["mean of outputs, middle"] = effects[0].mean(axis=1)
    for shift, own in list(zip(shifts, effects, strict=True))[1:]:
        choices[f"mean of outputs, {shift:+d} bp"] = own.mean(axis=1)
    choices["mean of outputs and places"] = effects.mean(axis=(0, 2))
    print(f"\n{source.title}, {options.subset}, n {len(table)}\n| choice | r | right signs |\n| --- | --- | --- |")
    for choice, effect in choices.items():
        r = pearson_ci(effect, table["measured"])
        sign = mean_ci(right_sign(effect, table["measured"].to_numpy()))
        print(
            f"| {choice} | {r.value:.3f} [{r.ci_low:.3f}, {r.ci_high:.3f}] | "
            f"{sign.value:.3f} [{sign.ci_low:.3f}, {sign.ci_high:.3f}] |"
        )


def at(options: argparse.Namespace, table: pd.DataFrame, shift: int) -> np.ndarray:
    """log2 alt/ref ``[variant, output]``, the mean over networks, strands and surroundings."""
    kept = options.work / f"{options.name}.{options.subset}.{len(table)}.{options.surroundings}.{shift}.npy"
    if not kept.is_file():
        total = np.zeros((len(table), len(CELLS)))
        folders = members([find_model("lentimpra")])
        for seed in range(options.surroundings):
            constructs = {allele: placed(table, allele, shift, seed) for allele in ("ref", "alt")}
            for folder in folders:
                total += predictions(folder, constructs["alt"]) - predictions(folder, constructs["ref"])
        np.save(kept, total / (options.surroundings * len(folders)))
    return np.load(kept)


def placed(table: pd.DataFrame, allele: str, shift: int, seed: int) -> pd.Series:
    """Constructs with an allele's sequence in the middle of the insert, or ``shift`` bp to the right of it."""
    rng = np.random.default_rng(seed)
    around = "".join(np.array(list("ACGT"))[rng.integers(0, 4, 4 * INSERT)])
    constructs = []
    for reference, sequence in zip(table["ref_sequence"], table[f"{allele}_sequence"], strict=True):
        start = (
            INSERT - len(reference)
        ) // 2 + shift  # of the sequence within the insert; both alleles begin at one base
        left = around[2 * INSERT - max(start, 0) : 2 * INSERT]
        insert = (left + sequence[max(-start, 0) :] + around[2 * INSERT :])[:INSERT]
        constructs.append(LEFT_ADAPTOR + insert + RIGHT_ADAPTOR)
    return pd.Series(constructs)


def print_ceiling(options: argparse.Namespace) -> None:
    """What r a model without error would have, by the table's own standard errors."""
    if options.name not in ERRORS:
        return
    effect, error, p_value, (column, below) = ERRORS[options.name]
    given = read_table(options.data / SOURCES[options.name].path, others=GUESS)
    values = given[effect].to_numpy(float)
    z = None if p_value is None else norm.isf(given[p_value].clip(1e-300, 1).to_numpy(float) / 2)
    spread = given[error].to_numpy(float) if z is None else np.abs(values) / np.maximum(z, 1e-9)
    known = np.isfinite(values) & np.isfinite(spread) & (True if z is None else z > LEAST_Z)
    for subset, mask in {"all": known, "significant": known & (given[column] < below).to_numpy()}.items():
        reliability = 1 - np.mean(spread[mask] ** 2) / np.mean(values[mask] ** 2)
        ceiling = np.sqrt(max(reliability, 0))
        print(f"{options.name}, {subset}, n {mask.sum()}: reliability {reliability:.2f}, r without error {ceiling:.2f}")


if __name__ == "__main__":
    main()
