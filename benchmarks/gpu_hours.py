#!/usr/bin/env python3
"""GPU hours of the study's training, from arithmetic alone: operations counted by torch, speed assumed.

    python benchmarks/gpu_hours.py --tflops 5

An estimate, not a measurement: sequences per epoch times epochs times three forward passes' operations (one forward, two backward),
at the given sustained speed. Rows are the tasks of ``-profile full``; --haplotypes and --diplotypes are distinct ones a window.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bin"))

WINDOWS, TRAINED_SHARE = 48_000, 0.8
MPRA_ROWS = {"HepG2": 122_926, "K562": 196_664, "WTC11": 46_185}  # elements that passed the published quality control
MPRA_MODELS, FOLDS = 90, 10


def main() -> None:
    """Print operations per sequence and hours per kind of model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tflops", type=float, default=5, help="sustained speed, 10¹² operations per second")
    parser.add_argument(
        "--haplotypes", type=float, default=5.5, help="distinct haplotypes a window (1,000 bp, 58 donors)"
    )
    parser.add_argument("--diplotypes", type=float, default=9.4, help="distinct pairs of them among the donors")
    options = parser.parse_args()
    legnet, clipnet = operations("legnet", 230), operations("clipnet", 1000)
    loci = WINDOWS * TRAINED_SHARE
    rows = [
        ("pretraining, three cell lines", legnet, sum(MPRA_ROWS.values()) * TRAINED_SHARE * 25, MPRA_MODELS),
        ("LegNet and its 3 control models", legnet, loci * options.haplotypes * 20, 4 * FOLDS),
        ("CLIPNET", clipnet, loci * options.diplotypes * 20, FOLDS),
    ]
    print("task\tmodels\tGFLOP/sequence\tsequences/model\thours/model\thours")
    for name, cost, sequences, models in rows:
        hours = 3 * cost * sequences / (options.tflops * 1e12) / 3600
        print(f"{name}\t{models}\t{cost / 1e9:.3f}\t{sequences:,.0f}\t{hours:.2f}\t{hours * models:.0f}")


def operations(architecture: str, width: int) -> int:
    """Multiplications and additions of one forward pass of one sequence."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from allelegro.models.checkpoint import build_model

    module = build_model(architecture, {}).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, 4, width))
    return int(counter.get_total_flops())


if __name__ == "__main__":
    main()
