"""Fine-tuning on personal PRO-cap: from a counts store and a haplotype store to a checkpoint."""

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from allelegro.errors import DataError
from allelegro.genotype.relatedness import families
from allelegro.genotype.store import HaplotypeStore
from allelegro.models.checkpoint import build_model, load_module, save_model
from allelegro.models.clipnet import PRESETS as CLIPNET_PRESETS
from allelegro.models.clipnet import Clipnet
from allelegro.models.config import read_config
from allelegro.models.legnet import PRESETS as LEGNET_PRESETS
from allelegro.models.seen import Seen
from allelegro.training.cohort import (
    Cohort,
    Split,
    for_donors,
    held_out,
    load_cohort,
    load_profiles,
    make_split,
    places,
    reference_codes,
    room_for_jitter,
    seen_before,
    with_genotypes,
)
from allelegro.training.engine import fit
from allelegro.training.factors import between_donors, hidden_factors
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
    settings, departures = _as_published(settings, counts, haplotypes, width)
    span = width + 2 * settings.max_shift
    snvs_only = isinstance(network, Clipnet)
    cohort = load_cohort(counts, haplotypes, span, settings.target_width, snvs_only=snvs_only)
    split = make_split(
        cohort,
        settings.test_fold,
        settings.validation_fold,
        test_donors=settings.test_donors,
        test_donor_fraction=settings.test_donor_fraction,
        seed=settings.split_seed,
        families=families(HaplotypeStore(haplotypes)) if _holds_out_donors(settings) else None,
    )
    training = for_donors(with_genotypes(cohort, settings.genotypes, settings.seed), split.train_donors)
    if settings.genotypes == "reference":
        training = for_donors(training, np.arange(len(training.donors)))
    _check_targets(training, split)
    training, factors = _with_factors(settings, training, haplotypes, split)
    log.info(
        "%d training loci, %d validation, %d held out; %d training donors, %d held out; %d distinct haplotypes of %d bp",
        len(split.train_loci), len(split.validation_loci), len(split.test_loci),
        len(split.train_donors), len(split.test_donors), len(training.codes), span,
    )  # fmt: skip
    objective = _objective(network, counts, training, split, width, settings)
    fitted = fit(objective, objective.training_settings(), device, checkpoint_dir)
    if not fitted.leads:
        return
    before = Seen.read(settings.init) if settings.init is not None else Seen.nothing()
    config = {
        "name": out.name,
        "architecture": settings.model,
        "hyperparameters": hyperparameters,
        "width": width,
        "target": {"kind": "log_rate", "width": settings.target_width, "scale": objective.target_scale},
        "context": None,
        "training": {
            **_recorded(settings),
            "max_lr": objective.training_settings().max_lr,
            "factors": factors,
            "epochs_trained": len(fitted.history),
            "departures": departures,
            "ended_by": "patience" if fitted.by_patience else "epochs",
            **_held_out(settings, before, cohort, split),
            "training_donors": [cohort.donors[i] for i in split.train_donors],
            "test_donors": [cohort.donors[i] for i in split.test_donors],
            "data_checksums": cohort.checksums,
            "best_epoch": fitted.best_epoch,
            "allelic": _allelic(objective),
        },
        "metrics": {key: value for key, value in fitted.metrics.items() if key != "epoch"},
    }
    used = np.concatenate([split.train_loci, split.validation_loci])
    own = Seen.training(reference_codes(cohort, used), places(cohort.windows.iloc[used], cohort.span))
    save_model(out, objective.finished(), config, fitted.history, seen=before.plus(own))
    fitted.forget_state()


def _holds_out_donors(settings: FinetuneSettings) -> bool:
    """Whether donors are held out, whose relatives matter: kinship takes a pass over all genotypes."""
    return bool(settings.test_donors) or settings.test_donor_fraction > 0


def _objective(
    network: nn.Module, counts: Path, training: Cohort, split: Split, width: int, settings: FinetuneSettings
) -> DiploidObjective:
    if not isinstance(network, Clipnet):
        return LegNetObjective(network, training, split, width, settings)
    profiles = load_profiles(counts, training, settings.target_width + 2 * settings.max_shift)
    return ClipnetObjective(network, training, split, profiles, width, settings)


def _recorded(settings: FinetuneSettings) -> dict[str, Any]:
    """The settings as ``model.json`` keeps them, and what the start was trained on."""
    kept = {
        key: value for key, value in asdict(settings).items() if key not in ("model", "preset", "init", "covariates")
    }
    init = str(settings.init) if settings.init else None
    return {**kept, "init": init, "init_data_checksums": _data_of(settings.init)}


def _held_out(settings: FinetuneSettings, before: Seen, cohort: Cohort, split: Split) -> dict[str, Any]:
    """What no stage saw of the test fold; what an earlier stage saw ``before`` is said, and is not held out."""
    again = seen_before(before, cohort, np.arange(len(cohort.windows)))
    if lost := int(again[split.test_loci].sum()):
        log.warning(
            "%s saw %d of the %d held-out loci: they are not held out", settings.init, lost, len(split.test_loci)
        )
    if before.unknown:
        log.warning("%s does not say what it saw: held-out loci may be among it", settings.init)
    chromosomes, regions = held_out(cohort.windows, settings.test_fold, again)
    return {
        "overlap_unknown": bool(before.unknown),
        "held_out_chromosomes": chromosomes,
        "held_out_regions": regions,
    }


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


def _as_published(
    settings: FinetuneSettings, counts: Path, haplotypes: Path, width: int
) -> tuple[FinetuneSettings, list[str]]:
    """The settings with CLIPNET's own shift, and where they depart from its authors' recipe; LegNet's are as they are."""
    if settings.model != "clipnet":
        return settings, []
    room = room_for_jitter(counts, haplotypes, width, settings.target_width)
    jitter = min(settings.clipnet_jitter, room)
    departures = replace(settings, clipnet_jitter=jitter, input_width=width).departures
    if jitter < settings.clipnet_jitter:
        log.warning(
            "%s and %s let windows of %d bp move by %d bp, not by %d; extract haplotypes with --flank %d",
            haplotypes, counts, width, jitter, settings.clipnet_jitter, settings.clipnet_jitter,
        )  # fmt: skip
    if departures:
        log.warning("CLIPNET is not trained as published: %s", "; ".join(departures))
    return replace(settings, max_shift=jitter), departures


def _with_factors(
    settings: FinetuneSettings, training: Cohort, haplotypes: Path, split: Split
) -> tuple[Cohort, list[str]]:
    """The training donors with what hidden factors explain at each locus as part of their library sizes, and the factors."""
    if settings.model == "clipnet":
        return training, []  # its published loss knows no offsets
    factors = hidden_factors(settings, training, haplotypes, split.train_loci)
    if factors.empty:
        return training, []
    offsets = between_donors(training.rpm, factors)
    names = [str(name) for name in factors.columns]
    log.info(
        "offsets between donors from %s: standard deviation %.3f (median over loci of log rate)",
        ", ".join(names), np.median(offsets.std(axis=1)),
    )  # fmt: skip
    return replace(training, sizes=training.sizes * np.exp(offsets)), names


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
