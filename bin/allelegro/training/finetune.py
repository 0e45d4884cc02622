"""Fine-tuning on personal PRO-cap: from a counts store and a haplotype store to a checkpoint."""

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from allelegro.errors import DataError
from allelegro.models.checkpoint import build_model, load_module, save_model
from allelegro.models.clipnet import PRESETS as CLIPNET_PRESETS
from allelegro.models.clipnet import Clipnet
from allelegro.models.legnet import PRESETS as LEGNET_PRESETS
from allelegro.training.cohort import (
    Cohort,
    Split,
    for_donors,
    held_out,
    load_cohort,
    load_profiles,
    make_split,
    with_genotypes,
)
from allelegro.training.engine import fit
from allelegro.training.objectives import ClipnetProblem, DiploidProblem, LegNetProblem, Options

log = logging.getLogger(__name__)

MODELS = ("legnet", "clipnet")
PRESETS = {"legnet": LEGNET_PRESETS, "clipnet": CLIPNET_PRESETS}


def finetune(
    counts: Path, haplotypes: Path, out: Path, options: Options, device: str, checkpoint_dir: Path | None
) -> None:
    """Fit a model to a counts store and a haplotype store and write its checkpoint folder.

    Raises DataError for stores that do not belong together, folds without windows, unknown donors, constant targets, or an
    initial checkpoint of another architecture.
    """
    torch.manual_seed(options.seed)
    network, hyperparameters, width = start(options)
    if options.model == "clipnet":
        options = replace(options, max_shift=0)  # as published; its profile would have to move along
    span = width + 2 * options.max_shift
    cohort = load_cohort(counts, haplotypes, span, options.target_width)
    split = make_split(
        cohort,
        options.test_fold,
        options.validation_fold,
        test_donors=options.test_donors,
        test_donor_fraction=options.test_donor_fraction,
        seed=options.split_seed,
    )
    training = for_donors(with_genotypes(cohort, options.genotypes, options.seed), split.train_donors)
    if options.genotypes == "reference":
        training = for_donors(training, np.arange(len(training.donors)))
    _check_targets(training, split)
    log.info(
        "%d training loci, %d validation, %d held out; %d training donors, %d held out; %d distinct haplotypes of %d bp",
        len(split.train_loci), len(split.validation_loci), len(split.test_loci),
        len(split.train_donors), len(split.test_donors), len(training.codes), span,
    )  # fmt: skip
    problem: DiploidProblem
    if isinstance(network, Clipnet):
        problem = ClipnetProblem(network, training, split, load_profiles(counts, training), width, options)
    else:
        problem = LegNetProblem(network, training, split, width, options)
    fitted = fit(problem, problem.settings(), device, checkpoint_dir)
    if not fitted.leads:
        return
    chromosomes, regions = held_out(cohort.windows, options.test_fold)
    config = {
        "name": out.name,
        "architecture": options.model,
        "hyperparameters": hyperparameters,
        "width": width,
        "target": {"kind": "log_rate", "width": options.target_width, "scale": problem.target_scale},
        "context": None,
        "training": {
            **{key: value for key, value in asdict(options).items() if key not in ("model", "preset", "init")},
            "init": str(options.init) if options.init else None,
            "max_lr": problem.settings().max_lr,
            "held_out_chromosomes": chromosomes,
            "held_out_regions": regions,
            "training_donors": [cohort.donors[i] for i in split.train_donors],
            "test_donors": [cohort.donors[i] for i in split.test_donors],
            "data_checksums": cohort.checksums,
            "best_epoch": fitted.best_epoch,
        },
        "metrics": {key: value for key, value in fitted.metrics.items() if key != "epoch"},
    }
    save_model(out, problem.finished(), config, fitted.history)


def start(options: Options) -> tuple[nn.Module, dict[str, Any], int]:
    """The network to train, its constructor arguments and its input width, fresh or from ``options.init``."""
    if options.model not in MODELS:
        raise DataError(f"--model {options.model} is unknown; one of {', '.join(MODELS)}")
    if options.init is not None:
        network, config = load_module(options.init)
        if config["architecture"] != options.model:
            raise DataError(
                f"{options.init}: a {config['architecture']} checkpoint cannot start a {options.model}; "
                f"give --model {config['architecture']} or another --init"
            )
        flanks = config["context"] or {"left": "", "right": ""}
        width = options.input_width or int(config["width"])
        if options.model == "clipnet" and width != network.width:
            raise DataError(f"{options.init}: CLIPNET of {network.width} bp; its --input-width cannot change")
        log.info(
            "starting from %s (%d bp, %d of them context)",
            options.init,
            config["width"],
            sum(map(len, flanks.values())),
        )
        return network, dict(config["hyperparameters"]), width
    if options.preset not in PRESETS[options.model]:
        raise DataError(f"--preset {options.preset} is unknown; one of {', '.join(PRESETS[options.model])}")
    hyperparameters = dict(PRESETS[options.model][options.preset])
    width = options.input_width or (1000 if options.model == "clipnet" else 230)
    if options.model == "clipnet":
        hyperparameters |= {"width": width, "profile_width": options.target_width}
    return build_model(options.model, hyperparameters), hyperparameters, width


def _check_targets(cohort: Cohort, split: Split) -> None:
    training = cohort.counts[split.train_loci]
    if np.ptp(training.sum(axis=1)) == 0:
        raise DataError(
            f"the counts of all {len(training)} training loci are the same ({training[0].sum()}); there is nothing to learn"
        )
    empty = np.flatnonzero(cohort.counts.sum(axis=0) == 0)
    if empty.size:
        raise DataError(f"donor {cohort.donors[empty[0]]} has no read in any window; leave the library out")
