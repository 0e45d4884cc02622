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
from allelegro.models.config import read_config
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
from allelegro.training.objectives import ClipnetObjective, DiploidObjective, LegNetObjective
from allelegro.training.settings import FinetuneSettings

log = logging.getLogger(__name__)

MODELS = ("legnet", "clipnet")
PRESETS = {"legnet": LEGNET_PRESETS, "clipnet": CLIPNET_PRESETS}


def finetune(
    counts: Path, haplotypes: Path, out: Path, settings: FinetuneSettings, device: str, checkpoint_dir: Path | None
) -> None:
    """Fit a model to a counts store and a haplotype store and write its checkpoint folder.

    Raises DataError for stores that do not belong together, folds without windows, unknown donors, constant targets, or an
    initial checkpoint of another architecture.
    """
    torch.manual_seed(settings.seed)
    network, hyperparameters, width = start(settings)
    if settings.model == "clipnet":
        settings = replace(settings, max_shift=0)  # as published; its profile would have to move along
    span = width + 2 * settings.max_shift
    cohort = load_cohort(counts, haplotypes, span, settings.target_width)
    split = make_split(
        cohort,
        settings.test_fold,
        settings.validation_fold,
        test_donors=settings.test_donors,
        test_donor_fraction=settings.test_donor_fraction,
        seed=settings.split_seed,
    )
    training = for_donors(with_genotypes(cohort, settings.genotypes, settings.seed), split.train_donors)
    if settings.genotypes == "reference":
        training = for_donors(training, np.arange(len(training.donors)))
    _check_targets(training, split)
    log.info(
        "%d training loci, %d validation, %d held out; %d training donors, %d held out; %d distinct haplotypes of %d bp",
        len(split.train_loci), len(split.validation_loci), len(split.test_loci),
        len(split.train_donors), len(split.test_donors), len(training.codes), span,
    )  # fmt: skip
    objective: DiploidObjective
    if isinstance(network, Clipnet):
        objective = ClipnetObjective(network, training, split, load_profiles(counts, training), width, settings)
    else:
        objective = LegNetObjective(network, training, split, width, settings)
    fitted = fit(objective, objective.training_settings(), device, checkpoint_dir)
    if not fitted.leads:
        return
    chromosomes, regions = held_out(cohort.windows, settings.test_fold)
    config = {
        "name": out.name,
        "architecture": settings.model,
        "hyperparameters": hyperparameters,
        "width": width,
        "target": {"kind": "log_rate", "width": settings.target_width, "scale": objective.target_scale},
        "context": None,
        "training": {
            **{key: value for key, value in asdict(settings).items() if key not in ("model", "preset", "init")},
            "init": str(settings.init) if settings.init else None,
            "init_data_checksums": _data_of(settings.init),
            "max_lr": objective.training_settings().max_lr,
            "held_out_chromosomes": chromosomes,
            "held_out_regions": regions,
            "training_donors": [cohort.donors[i] for i in split.train_donors],
            "test_donors": [cohort.donors[i] for i in split.test_donors],
            "data_checksums": cohort.checksums,
            "best_epoch": fitted.best_epoch,
            "allelic": _allelic(objective),
        },
        "metrics": {key: value for key, value in fitted.metrics.items() if key != "epoch"},
    }
    save_model(out, objective.finished(), config, fitted.history)
    fitted.forget_state()


def _allelic(objective: DiploidObjective) -> dict[str, Any] | None:
    """Allelic reads of training loci, and what was fitted to them; None where there are none."""
    if not isinstance(objective, LegNetObjective) or objective.allelic is None:
        return None
    fitted = objective.module.allelic_loss
    assert fitted is not None
    return {
        "reads": int(objective.allelic.counts[objective.split.train_loci].sum()),
        "libraries": len(objective.allelic.donor),
        "concentration": float(fitted.log_concentration.detach().exp()),
        "reference_bias": [float(value) for value in fitted.bias.detach()],
    }


def _data_of(init: Path | None) -> dict[str, str]:
    """Checksums of what an initial checkpoint was trained on, as far as it says."""
    if init is None or init.suffix == ".ckpt":
        return {}
    return dict(read_config(init)["training"].get("data_checksums", {}))


def start(settings: FinetuneSettings) -> tuple[nn.Module, dict[str, Any], int]:
    """The network to train, its constructor arguments and its input width, fresh or from ``settings.init``."""
    if settings.model not in MODELS:
        raise DataError(f"--model {settings.model} is unknown; one of {', '.join(MODELS)}")
    if settings.init is not None:
        network, config = load_module(settings.init)
        if config["architecture"] != settings.model:
            raise DataError(
                f"{settings.init}: a {config['architecture']} checkpoint cannot start a {settings.model}; "
                f"give --model {config['architecture']} or another --init"
            )
        flanks = config["context"] or {"left": "", "right": ""}
        width = settings.input_width or int(config["width"])
        if settings.model == "clipnet" and width != network.width:
            raise DataError(f"{settings.init}: CLIPNET of {network.width} bp; its --input-width cannot change")
        log.info(
            "starting from %s (%d bp, %d of them context)",
            settings.init,
            config["width"],
            sum(map(len, flanks.values())),
        )
        return network, dict(config["hyperparameters"]), width
    if settings.preset not in PRESETS[settings.model]:
        raise DataError(f"--preset {settings.preset} is unknown; one of {', '.join(PRESETS[settings.model])}")
    hyperparameters = dict(PRESETS[settings.model][settings.preset])
    width = settings.input_width or (1000 if settings.model == "clipnet" else 230)
    if settings.model == "clipnet":
        hyperparameters |= {"width": width, "profile_width": settings.target_width}
    return build_model(settings.model, hyperparameters), hyperparameters, width


def _check_targets(cohort: Cohort, split: Split) -> None:
    training = cohort.counts[split.train_loci]
    if np.ptp(training.sum(axis=1)) == 0:
        raise DataError(
            f"the counts of all {len(training)} training loci are the same ({training[0].sum()}); there is nothing to learn"
        )
    empty = np.flatnonzero(cohort.counts.sum(axis=0) == 0)
    if empty.size:
        raise DataError(f"donor {cohort.donors[empty[0]]} has no read in any window; exclude its libraries")
