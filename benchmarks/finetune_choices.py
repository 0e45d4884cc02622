#!/usr/bin/env python3
"""Measure the choices of fine-tuning on one cohort: every variant is trained on the same split and compared.

    benchmarks/finetune_choices.py --counts C --haplotypes H --init pretrained/NAME \
        --work /tmp/choices --study controls --study widths …

Each variant changes one thing of the common options; several seeds of a variant are averaged as one model. Prints the
metrics of held-out loci with intervals, and paired differences to the first variant of each study.
"""

import dataclasses
import logging
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).parents[1] / "bin"))

from allelegro.cli.common import Threads, Tool
from allelegro.resources import limit_threads

app = Tool()

Variant = dict[str, Any]
STUDIES: dict[str, dict[str, Variant]] = {
    "controls": {
        "legnet": {},
        "clipnet": {"model": "clipnet"},
        "legnet_reference": {"genotypes": "reference"},
        "legnet_shuffled": {"genotypes": "shuffled"},
        "legnet_scratch": {"init": None},
    },
    "widths": {f"width_{width}": {"input_width": width} for width in (230, 300, 400, 600)},
    "targets": {f"target_{width}": {"target_width": width} for width in (500, 230, 1000)},
    "losses": {
        "nb": {},
        "poisson": {"loss": "poisson"},
        "mse": {"loss": "mse"},
        "between_0": {"between_weight": 0.0},
        "between_0.3": {"between_weight": 0.3},
        "between_3": {"between_weight": 3.0},
        "between_10": {"between_weight": 10.0},
    },
    "rates": {
        "rate_0.0006": {},
        "rate_0.0002": {"max_lr": 0.0002},
        "rate_0.001": {"max_lr": 0.001},
        "rate_0.002": {"max_lr": 0.002},
        "decay_0.5": {"layer_decay": 0.5},
        "decay_0.7": {"layer_decay": 0.7},
        "frozen_5": {"frozen_epochs": 5},
    },
}
SHOWN = {
    "unseen_loci/seen_donors": ["across_loci_r", "between_donors_r", "allele_effect_r"],
    "unseen_loci/unseen_donors": ["across_loci_r", "between_donors_r"],
    "seen_loci/unseen_donors": ["between_donors_r"],
}


@app.command()
def main(
    counts: Annotated[Path, typer.Option(help="Counts store.")],
    haplotypes: Annotated[Path, typer.Option(help="Haplotype store.")],
    work: Annotated[Path, typer.Option(help="Folder for checkpoints and metrics.")],
    study: Annotated[list[str], typer.Option(help=f"What to vary (repeat): {', '.join(STUDIES)}.")],
    init: Annotated[Path | None, typer.Option(help="Pretrained LegNet.")] = None,
    preset: Annotated[str, typer.Option(help="Model size without --init, and of CLIPNET.")] = "small",
    epochs: Annotated[int, typer.Option(help="Epochs of LegNet.")] = 20,
    clipnet_epochs: Annotated[int, typer.Option(help="Epochs of CLIPNET.")] = 20,
    batch_loci: Annotated[int, typer.Option(help="Loci per batch.")] = 32,
    seeds: Annotated[int, typer.Option(help="Models per variant.")] = 1,
    test_fold: Annotated[int, typer.Option(help="Held-out fold.")] = 0,
    validation_fold: Annotated[int, typer.Option(help="Validation fold.")] = 1,
    threads: Threads = 1,
) -> None:
    """Train, evaluate and print; checkpoints that exist already are used again."""
    limit_threads(threads)
    from allelegro.io.metrics import read_metrics
    from allelegro.training.evaluate import evaluate
    from allelegro.training.finetune import finetune
    from allelegro.training.settings import FinetuneSettings

    logging.disable(logging.INFO)
    common = FinetuneSettings(
        init=init,
        preset=preset,
        epochs=epochs,
        batch_loci=batch_loci,
        test_fold=test_fold,
        validation_fold=validation_fold,
    )
    for name in study:
        models = []
        for variant, changes in STUDIES[name].items():
            options = dataclasses.replace(common, **changes)
            if options.model == "clipnet":
                options = dataclasses.replace(options, init=None, epochs=clipnet_epochs)
            for seed in range(seeds):
                out = work / f"{variant}.{seed}"
                if not out.exists():
                    started = time.monotonic()
                    finetune(counts, haplotypes, out, dataclasses.replace(options, seed=seed), "auto", None)
                    print(f"{variant} seed {seed}: {time.monotonic() - started:.0f} s", flush=True)
                models.append((variant, out))
        metrics = work / f"{name}.metrics.tsv"
        evaluate(counts, haplotypes, models, metrics, work / f"{name}.parquet")
        show(read_metrics([metrics]), list(STUDIES[name]))


def show(metrics: Any, variants: list[str]) -> None:
    """Print the chosen metrics, one line a variant, and the difference to the first."""
    for subset, names in SHOWN.items():
        for name in names:
            rows = metrics[(metrics["subset"] == subset) & (metrics["metric"] == name)].set_index("model")
            both = f"{name}_difference"
            paired = metrics[(metrics["subset"] == subset) & (metrics["metric"] == both)].set_index("model")
            print(f"\n{subset}  {name}")
            for variant in [*variants, "linear_genotypes", "locus_mean"]:
                if variant not in rows.index:
                    continue
                row = rows.loc[variant]
                line = (
                    f"  {variant:<18}{row['value']:7.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]  n {row['n']:.0f}"
                )
                pair = f"{variants[0]} - {variant}"
                if pair in paired.index:
                    gap = paired.loc[pair]
                    line += f"   {pair}: {gap['value']:+.3f} [{gap['ci_low']:+.3f}, {gap['ci_high']:+.3f}]"
                print(line)


if __name__ == "__main__":
    app()
