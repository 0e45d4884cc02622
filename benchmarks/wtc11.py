#!/usr/bin/env python3
"""Published-size LegNet on little data: trained on fold 2 of WTC11 lentiMPRA, tested on fold 1.

    python benchmarks/wtc11.py --data DATA/lentimpra_wtc11 --work WORK --seed 1 --seed 2 --seed 3 --threads 2

A tenth of fold 2's groups (the two orientations of an element are one), another for every seed, picks the epoch. Prints
Pearson's r on fold 1 of every seed, their mean, and of the ensemble. Checkpoints already in WORK are read, not trained again; a
stopped one continues.
"""

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bin"))

RECIPES = {
    # The published recipe with the batch and rate that suit 4,000 sequences.
    "plain": {"settings": {"epochs": 15, "batch_size": 128, "max_lr": 0.005}, "augmentation": {}, "dropout": 0.0},
    "small_data": {
        "settings": {"epochs": 22, "batch_size": 128, "max_lr": 0.005, "average": 0.98},
        "augmentation": {"before": 21, "mutation": 0.05},
        "dropout": 0.3,
    },
    # The same for longer, with more bases randomly mutated.
    "longer": {
        "settings": {"epochs": 40, "batch_size": 128, "max_lr": 0.005, "average": 0.98},
        "augmentation": {"before": 21, "mutation": 0.1},
        "dropout": 0.3,
    },
}


def main() -> None:
    """Train what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of fold1.tsv.gz and fold2.tsv.gz")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints and interrupted runs")
    parser.add_argument("--recipe", choices=RECIPES, default="longer")
    parser.add_argument("--preset", default="published")
    parser.add_argument("--precision", choices=("auto", "fp32"), default="auto")
    parser.add_argument("--seed", type=int, action="append", help="repeatable")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--swap", action="store_true", help="train on fold 1, test on fold 2: for choosing recipes")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    import numpy as np
    import torch

    from allelegro.models.checkpoint import load_model, save_model
    from allelegro.models.device import choose_device
    from allelegro.models.legnet import PRESETS
    from allelegro.statistics import pearson, pearson_ci
    from allelegro.training.mpra import prepare_mpra, sequences_to_codes
    from allelegro.training.pretrain import Parts, train_legnet
    from allelegro.training.settings import Augmentation, MpraSettings, TrainingSettings

    torch.set_num_threads(arguments.threads)
    recipe = RECIPES[arguments.recipe]
    preparation = MpraSettings(seed=0)
    tables = [prepare_mpra(arguments.data / f"fold{fold}.tsv.gz", preparation) for fold in (1, 2)]
    test, train = tables[::-1] if arguments.swap else tables
    measured = test["mean_value"].to_numpy()
    direction = "fold1_to_fold2" if arguments.swap else "fold2_to_fold1"
    work = arguments.work / f"{arguments.recipe}.{arguments.preset}.{arguments.precision}.{direction}"
    codes, predictions = sequences_to_codes(test["seq"]), []
    for seed in arguments.seed or [1, 2, 3]:
        checkpoint = work / f"seed{seed}"
        if not checkpoint.is_dir():
            settings = replace(TrainingSettings(**recipe["settings"]), seed=seed, precision=arguments.precision)
            augmentation = Augmentation(**recipe["augmentation"])
            network = {**PRESETS[arguments.preset], "dropout": recipe["dropout"]}
            validation = train["fold_num"] == 1 + (seed - 1) % preparation.folds
            parts = Parts(train[~validation], train[validation], test)
            objective, fitted = train_legnet(parts, network, settings, augmentation, "auto", work / "state")
            save_model(checkpoint, objective.module, config_of(network, seed, direction), fitted.history)
        predictions.append(load_model(checkpoint, choose_device("auto")).predict_log2(codes))
        print(f"seed {seed}\tr {pearson(predictions[-1], measured):.4f}", flush=True)
    rates = [pearson(prediction, measured) for prediction in predictions]
    together = pearson_ci(np.mean(predictions, axis=0), measured, test["group"].to_numpy())
    print(f"mean of {len(rates)}\tr {np.mean(rates):.4f} (from {min(rates):.4f} to {max(rates):.4f})")
    print(f"ensemble of {len(rates)}\tr {together.value:.4f} [{together.ci_low:.4f}, {together.ci_high:.4f}]")


def config_of(network: dict[str, object], seed: int, direction: str) -> dict[str, object]:
    """What a checkpoint says of itself; no chromosome is held out from it."""
    from allelegro.training.settings import LEFT_ADAPTOR, RIGHT_ADAPTOR

    training = {"genotypes": None, "seed": seed, "direction": direction, "held_out_chromosomes": None}
    return {
        "architecture": "legnet", "hyperparameters": network, "width": 230, "target": {"kind": "log2_activity"},
        "context": {"left": LEFT_ADAPTOR, "right": RIGHT_ADAPTOR}, "training": training,
    }  # fmt: skip


if __name__ == "__main__":
    main()
