"""Every model, control model and baseline on the same loci and donors, in the four cells seen/unseen locus × seen/unseen donor."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from allelegro.errors import DataError
from allelegro.intervals import concatenated_ranges
from allelegro.io.atomic import atomic_path
from allelegro.io.metrics import metric_row, write_metrics
from allelegro.models.checkpoint import LoadedModel, load_model
from allelegro.models.clipnet import Clipnet, log_quantity, reverse_profile
from allelegro.models.device import choose_device, keep_freed_memory
from allelegro.models.encoding import reverse_complement
from allelegro.models.ensemble import members, require_one_model
from allelegro.statistics import Estimate
from allelegro.training.baselines import linear_genotypes, locus_mean, replicate_pairs
from allelegro.training.cohort import (
    LN2,
    Cohort,
    Diplotypes,
    Profiles,
    Split,
    cohort_of,
    distinct_diplotypes,
    load_profiles,
    make_split,
    open_stores,
    seen_before,
)
from allelegro.training.imbalance import Imbalance, observed_imbalance
from allelegro.training.metrics import (
    MINIMAL_DONORS,
    Question,
    allele_questions,
    count_questions,
    donor_questions,
    imbalance_questions,
    locus_questions,
    main_dosage,
    rowwise_r,
)

log = logging.getLogger(__name__)

Matrix = NDArray[np.float64]
Rows = NDArray[np.int64]
Row = dict[str, object]
Ensemble = list[LoadedModel]
Input = tuple[int, bool]  # what a model takes of a window: bp, and whether SNVs only
Predictions = dict[str, dict[str, Matrix]]  # RPM [locus, donor] by role of the loci, then by model

# What a model knows of a locus. Where several folds give it several roles, the last counts in the written predictions.
ROLES = ("validation_loci", "seen_loci", "unseen_loci")

_RECORDED = ("test_fold", "validation_fold", "test_donors", "data_checksums")  # of a fine-tuned model
LOCUS_MEAN, LINEAR, REPLICATES = "locus_mean", "linear_genotypes", "replicates"
PERMUTED, SWAPPED = "permuted_donors", "swapped_haplotypes"
_BATCH = 256


@dataclass
class Evaluation:
    """What is measured and how often it is resampled; collects tidy rows."""

    dataset: str
    n_boot: int
    seed: int
    rows: list[Row] = field(default_factory=list)

    def ask(self, subset: str, questions: Sequence[Question], compared: Sequence[str]) -> None:
        """Add each question's answer for every model, and the paired differences between those ``compared``."""
        for question in questions:
            for model in question.values:
                self.add(model, subset, question.metric, question.estimate(model, self.n_boot, self.seed))
            for first, second in combinations([name for name in compared if name in question.values], 2):
                self.compare(subset, question, first, second)

    def compare(self, subset: str, question: Question, first: str, second: str) -> None:
        """Add the paired difference of two models, or of a model and its control."""
        difference = question.difference(first, second, self.n_boot, self.seed)
        self.add(f"{first} - {second}", subset, f"{question.metric}_difference", difference)

    def add_ceiling(self, where: str, question: Question) -> None:
        """Add how well ``REPLICATES`` predict each other, and the ceiling that follows."""
        subset, reliability = f"{where}/replicated_donors", question.estimate(REPLICATES, self.n_boot, self.seed)
        self.add(REPLICATES, subset, f"{question.metric}_reliability", reliability)
        self.add(REPLICATES, subset, question.metric, ceiling(reliability))

    def add(self, model: str, subset: str, metric: str, estimate: Estimate) -> None:
        """Add one row."""
        self.rows.append(metric_row("training", self.dataset, model, subset, metric, estimate))


def evaluate(
    counts: Path,
    haplotypes: Path,
    models: Sequence[tuple[str, Path]],
    out_metrics: Path,
    out_predictions: Path,
    *,
    target_width: int = 500,
    dataset: str = "procap",
    n_boot: int = 1000,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Predict with every model and write tidy metrics and predictions.

    ``models`` are (name, checkpoint or folder of checkpoints); the checkpoints of one name are its folds and seeds. An
    unseen locus is predicted by the checkpoints that held out its fold, a seen locus by those that trained on it, and the
    loci of all test folds are pooled. Raises DataError when the checkpoints of a name are not one model, when models
    differ in folds or held-out donors, or when stores and models do not fit.
    """
    keep_freed_memory()
    ensembles = load_ensembles(models, choose_device(device))
    _check_profiles(ensembles, target_width)
    cohorts = _cohorts(counts, haplotypes, ensembles, target_width)
    # Which loci are asked about must not depend on what one model is blind to: the widest input, with all its alleles.
    cohort = cohorts[max(width for width, _ in cohorts), False]
    folds = without_seen_loci(common_folds(cohort, ensembles), ensembles, cohorts)
    imbalance = _observed_imbalance(cohort)
    predicted: Predictions = {role: {} for role in ROLES}
    for name, ensemble in ensembles.items():
        for role, rpm in pooled_rpm(ensemble, folds, cohorts).items():
            predicted[role][name] = rpm
    predicted["seen_loci"] |= _baselines(haplotypes, cohort, folds)
    evaluation = Evaluation(dataset, n_boot, seed)
    _cells(evaluation, cohort, folds, predicted, list(ensembles))
    _training(evaluation, cohort, folds, predicted, ensembles)
    _replicates(evaluation, counts, cohort, folds)
    if imbalance is not None:
        ratios: Predictions = {role: {} for role in ROLES}
        for name, ensemble in ensembles.items():
            for role, ratio in pooled_ratio(ensemble, folds, cohorts, imbalance.asked).items():
                ratios[role][name] = ratio
        _imbalance(evaluation, folds, imbalance, ratios, list(ensembles))
        _imbalance_replicates(evaluation, cohort, folds)
    for name, ensemble in ensembles.items():
        if all(isinstance(model.module, Clipnet) for model in ensemble):
            _profiles(evaluation, counts, cohorts[input_of(ensemble[0])], folds, name, ensemble)
    write_metrics(evaluation.rows, out_metrics)
    _write_predictions(cohort, folds, predicted, out_predictions)


def load_ensembles(models: Sequence[tuple[str, Path]], device: torch.device) -> dict[str, Ensemble]:
    """The checkpoints of each name; DataError when those of one name are not folds and seeds of one model."""
    paths: dict[str, list[Path]] = {}
    for name, path in models:
        paths.setdefault(name, []).extend(members([path]))
    for name, found in paths.items():
        require_one_model(name, found)
    return {name: [load_model(path, device) for path in found] for name, found in paths.items()}


def _check_profiles(ensembles: Mapping[str, Ensemble], target_width: int) -> None:
    """Profiles are compared base by base, so CLIPNET must predict those of the evaluated width."""
    for ensemble in ensembles.values():
        for model in ensemble:
            own = model.module.profile_width if isinstance(model.module, Clipnet) else target_width
            if own != target_width:
                raise DataError(
                    f"{model.name} predicts the profile of the central {own} bp; evaluate with --target-width {own}"
                )


def input_of(model: LoadedModel) -> Input:
    """What a model takes of a window; CLIPNET takes SNVs alone, as published."""
    return model.insert_width, isinstance(model.module, Clipnet)


def _cohorts(
    counts: Path, haplotypes: Path, ensembles: Mapping[str, Ensemble], target_width: int
) -> dict[Input, Cohort]:
    """The data as each model takes it, and with all alleles at the widest input."""
    inputs = {input_of(model) for ensemble in ensembles.values() for model in ensemble}
    inputs.add((max(width for width, _ in inputs), False))
    stores = open_stores(counts, haplotypes)
    return {(width, snvs): cohort_of(*stores, width, target_width, snvs_only=snvs) for width, snvs in sorted(inputs)}


@dataclass(frozen=True)
class Folds:
    """The split of each test fold; the donors held out are the same in all of them."""

    splits: Mapping[int, Split]

    def loci(self, role: str) -> Rows:
        """The loci that have a role of ``ROLES`` in any fold, in order."""
        return np.unique(np.concatenate([loci_by_role(split)[role] for split in self.splits.values()]))

    @property
    def donors(self) -> dict[str, Rows]:
        """Rows of the donors that training saw and of those it did not."""
        split = next(iter(self.splits.values()))
        return {"seen_donors": split.train_donors, "unseen_donors": split.test_donors}

    def cells(self) -> Iterator[tuple[str, str, Rows, Rows]]:
        """Name, role of the loci, loci and donors of every cell that has donors.

        A locus of one test fold may be unseen by that fold's models and seen by another's: it is then in both cells, each
        time with the predictions of those models. Validation loci are in none, they chose the epoch.
        """
        for role in ("seen_loci", "unseen_loci"):
            for who, donors in self.donors.items():
                if len(donors):
                    yield f"{role}/{who}", role, self.loci(role), donors


def loci_by_role(split: Split) -> dict[str, Rows]:
    """Loci of one split by what its models know of them."""
    return dict(zip(ROLES, (split.validation_loci, split.train_loci, split.test_loci), strict=True))


def fold_of(model: LoadedModel) -> int | None:
    """The fold of windows that a model held out; None for one of lentiMPRA alone, which knows no windows."""
    return int(model.config["training"]["test_fold"]) if model.config["target"]["kind"] == "log_rate" else None


def common_folds(cohort: Cohort, ensembles: Mapping[str, Ensemble]) -> Folds:
    """The splits that all PRO-cap models were trained with; a model of lentiMPRA alone has none and takes theirs.

    Raises DataError when models differ in test folds, in a fold's validation fold, in held-out donors, or in windows.
    """
    tuned = {name: [model for model in ensemble if fold_of(model) is not None] for name, ensemble in ensembles.items()}
    for name, found in tuned.items():
        if any(key not in model.config["training"] for model in found for key in _RECORDED):
            raise DataError(
                f"{name}: model.json lacks {', '.join(_RECORDED)}; train the model again with finetune_model.py"
            )
    plans = {name: dict(_roles(model) for model in found) for name, found in tuned.items() if found}
    if not plans:
        raise DataError(
            f"{', '.join(ensembles)}: no model was fine-tuned on PRO-cap; give one made by finetune_model.py"
        )
    first, plan = next(iter(plans.items()))
    for name, other in plans.items():
        for fold in plan.keys() ^ other.keys():
            without, having = (name, first) if fold in plan else (first, name)
            raise DataError(
                f"{without} has no checkpoint of test fold {fold}, {having} has; train it or leave that fold out"
            )
        if other != plan:
            raise DataError(
                f"{name}: validation folds or held-out donors differ from those of {first}; "
                "compare models trained with one split (--validation-fold, --test-donors, --split-seed)"
            )
    for name, found in tuned.items():
        if (
            found
            and found[0].config["training"]["data_checksums"].get("windows.bed") != cohort.checksums["windows.bed"]
        ):
            raise DataError(f"{name}: trained on other windows than these stores have, its folds say nothing here")
    held_out = next(iter(plan.values()))[1]
    known = [donor for donor in cohort.donors if donor in held_out]
    splits = {
        fold: make_split(cohort, fold, validation, test_donors=known, test_donor_fraction=0.0)
        for fold, (validation, _) in sorted(plan.items())
    }
    return Folds(splits)


def _roles(model: LoadedModel) -> tuple[int, tuple[int, frozenset[str]]]:
    """Test fold of a model, and with it its validation fold and held-out donors."""
    training = model.config["training"]
    return int(training["test_fold"]), (int(training["validation_fold"]), frozenset(training["test_donors"]))


def pooled_rpm(ensemble: Ensemble, folds: Folds, cohorts: Mapping[Input, Cohort]) -> dict[str, Matrix]:
    """RPM ``[locus, donor]`` by role of the loci, NaN where a locus does not have that role.

    The seeds of a fold are averaged in log RPM, those of CLIPNET in RPM as its authors do. An unseen locus has one such mean, that of its own fold; at a seen locus
    those of all folds that trained on it are averaged in turn.
    """
    predicted = [log_rpm(model, cohorts[input_of(model)]) for model in ensemble]
    raw = isinstance(ensemble[0].module, Clipnet)
    predicted = [np.exp(rates) for rates in predicted] if raw else predicted
    means = _pooled(ensemble, folds, cohorts, predicted)
    return means if raw else {role: np.exp(mean) for role, mean in means.items()}


def pooled_ratio(
    ensemble: Ensemble, folds: Folds, cohorts: Mapping[Input, Cohort], asked: NDArray[np.bool_]
) -> dict[str, Matrix]:
    """log2 of haplotype 0 over haplotype 1 where ``asked`` ``[locus, donor]``, by role of the loci, checkpoints averaged."""
    predicted = [log2_ratio(model, cohorts[input_of(model)], asked) for model in ensemble]
    return _pooled(ensemble, folds, cohorts, predicted)


def _pooled(
    ensemble: Ensemble, folds: Folds, cohorts: Mapping[Input, Cohort], predicted: Sequence[Matrix]
) -> dict[str, Matrix]:
    """What the checkpoints of a model predict, ``[locus, donor]`` each, averaged over seeds and then over folds, by role."""
    loci, donors = predicted[0].shape
    total = {role: np.zeros((loci, donors)) for role in ROLES}
    folds_there = {role: np.zeros((loci, 1)) for role in ROLES}
    for fold, split in folds.splits.items():
        chosen = answering(ensemble, fold, cohorts, split.test_loci)
        mean = np.mean([predicted[number] for number in chosen], axis=0)
        for role, rows in loci_by_role(split).items():
            total[role][rows] += mean[rows]
            folds_there[role][rows] += 1
    with np.errstate(invalid="ignore"):
        return {role: total[role] / folds_there[role] for role in ROLES}


def answering(ensemble: Ensemble, fold: int, cohorts: Mapping[Input, Cohort], loci: Rows) -> list[int]:
    """Which models of an ensemble predict the ``loci`` of a test fold: those trained for it.

    Models of lentiMPRA alone know no folds: of these the ones whose training saw the fewest of the loci.
    """
    own = [number for number, model in enumerate(ensemble) if fold_of(model) == fold]
    if own:
        return own
    others = [number for number, model in enumerate(ensemble) if fold_of(model) is None]
    seen = {number: int(_saw(ensemble[number], cohorts, loci).sum()) for number in others}
    return [number for number in others if seen[number] == min(seen.values())]


def _saw(model: LoadedModel, cohorts: Mapping[Input, Cohort], loci: Rows) -> NDArray[np.bool_]:
    """Which loci some stage of a model's training saw, in the sequence that it takes."""
    return seen_before(model.seen, cohorts[input_of(model)], loci)


def without_seen_loci(folds: Folds, ensembles: Mapping[str, Ensemble], cohorts: Mapping[Input, Cohort]) -> Folds:
    """The splits without the test loci that a stage of the models answering for them saw, a user's start for one.

    They leave for all models alike, and how many is said. An ensemble that saw all loci of a fold, or does not say what it
    saw, is named instead: its figures may flatter. Raises DataError when no locus of a fold is left.
    """
    splits = {}
    for fold, split in folds.splits.items():
        seen = np.zeros(len(split.test_loci), bool)
        for name, ensemble in ensembles.items():
            models = [ensemble[number] for number in answering(ensemble, fold, cohorts, split.test_loci)]
            own = np.any([_saw(model, cohorts, split.test_loci) for model in models], axis=0)
            if untold := list(dict.fromkeys(stage for model in models for stage in model.seen.unknown)):
                log.warning(
                    "%s: what %s saw is unknown, so it may have seen unseen_loci of fold %d",
                    name,
                    ", ".join(untold),
                    fold,
                )
            if own.all():
                log.warning("%s: does not hold out the windows of fold %d: it saw its unseen_loci", name, fold)
                continue
            if own.any():
                log.warning(
                    "%s: a stage of its training saw %d of %d loci of test fold %d; they are not among unseen_loci",
                    name, own.sum(), len(own), fold,
                )  # fmt: skip
            seen |= own
        if seen.all():
            raise DataError(f"test fold {fold}: each locus was seen by a model; train from starts that hold it out")
        splits[fold] = replace(split, test_loci=split.test_loci[~seen])
    return Folds(splits)


def log_rpm(model: LoadedModel, cohort: Cohort) -> Matrix:
    """Natural log of RPM ``[locus, donor]`` that a model predicts, both strands averaged.

    Haplotype models average the two haplotypes on the raw scale; CLIPNET sees each distinct diplotype once.
    """
    if isinstance(model.module, Clipnet):
        pairs = distinct_diplotypes(cohort)
        values = clipnet_diplotypes(model, cohort, pairs)
        return np.asarray(values[pairs.offsets[:-1, None] + pairs.index], np.float64)
    single = model.predict_log2(model.in_context(cohort.codes)).astype(np.float64) * LN2
    both = single[cohort.offsets[:-1, None, None] + cohort.index]
    return np.asarray(np.logaddexp(both[..., 0], both[..., 1]) - LN2)


def log2_ratio(model: LoadedModel, cohort: Cohort, asked: NDArray[np.bool_]) -> Matrix:
    """log2 that a model predicts of a donor's haplotype 0 over its haplotype 1, ``[locus, donor]``, NaN where not ``asked``.

    CLIPNET knows no single haplotypes: it is given two copies of each.
    """
    locus, donor = np.nonzero(asked)
    rows, place = np.unique(cohort.offsets[locus, None] + cohort.index[locus, donor], return_inverse=True)
    if isinstance(model.module, Clipnet):
        ends = np.searchsorted(rows, cohort.offsets)
        copies = np.repeat((rows - np.repeat(cohort.offsets[:-1], np.diff(ends)))[:, None], 2, axis=1)
        pairs = Diplotypes(copies, ends, np.zeros((0, 0), np.int64))
        single = clipnet_diplotypes(model, cohort, pairs).astype(np.float64) / LN2
    else:
        single = model.predict_log2(model.in_context(cohort.codes[rows])).astype(np.float64)
    both = single[place.reshape(-1, 2)]
    ratio = np.full(asked.shape, np.nan)
    ratio[locus, donor] = both[:, 0] - both[:, 1]
    return ratio


@torch.inference_mode()
def clipnet_diplotypes(model: LoadedModel, cohort: Cohort, pairs: Diplotypes) -> NDArray[np.float32]:
    """Log RPM of each distinct diplotype ``[n]``, quantities averaged over strands."""
    results = [
        log_quantity(*(quantity for _, quantity in strands)).cpu()
        for strands in _clipnet_batches(model, cohort, pairs, np.arange(len(pairs.pairs)))
    ]
    return np.asarray(torch.cat(results) - np.log(model.config["target"]["scale"]))


def _clipnet_batches(
    model: LoadedModel, cohort: Cohort, pairs: Diplotypes, rows: NDArray[np.int64]
) -> Iterator[tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]:
    """Profile and quantity of diplotypes, batch by batch, as read and as reverse complement (profiles reversed back)."""
    locus = np.repeat(np.arange(len(cohort.windows)), np.diff(pairs.offsets))
    members = pairs.pairs + cohort.offsets[locus, None]
    for start in range(0, len(rows), _BATCH):
        part = members[rows[start : start + _BATCH]]
        first, second = (torch.from_numpy(cohort.codes[part[:, side]]).to(model.device) for side in (0, 1))
        profile, quantity = model.module(Clipnet.encode(first, second))
        reverse, sum_again = model.module(Clipnet.encode(reverse_complement(first), reverse_complement(second)))
        yield (profile, quantity), (reverse_profile(reverse), sum_again)


def _baselines(haplotypes: Path, cohort: Cohort, folds: Folds) -> dict[str, Matrix]:
    """Models of one locus at a time: what they predict at a seen locus is the same in every fold."""
    from allelegro.genotype.store import HaplotypeStore

    loci, donors = folds.loci("seen_loci"), folds.donors["seen_donors"]
    return {
        LOCUS_MEAN: locus_mean(cohort, loci, donors),
        LINEAR: linear_genotypes(HaplotypeStore(haplotypes), cohort, loci, donors),
    }


def _cells(evaluation: Evaluation, cohort: Cohort, folds: Folds, predicted: Predictions, models: Sequence[str]) -> None:
    for subset, role, loci, donors in folds.cells():
        box = np.ix_(loci, donors)
        inside = {name: rpm[box] for name, rpm in predicted[role].items()}
        observed = cohort.rpm[box]
        baselines = [name for name in (LOCUS_MEAN, LINEAR) if name in inside]
        evaluation.ask(subset, locus_questions(observed, inside), [*models, *baselines])
        counts, sizes = cohort.counts[box].astype(np.float64), cohort.sizes[donors]
        across, _ = count_questions(counts, sizes, inside)
        evaluation.ask(subset, [across], [*models, *baselines])
        if len(donors) < MINIMAL_DONORS:
            log.warning(
                "%s: %d donors are too few for correlations within a locus (%d)", subset, len(donors), MINIMAL_DONORS
            )
            continue
        inside.pop(LOCUS_MEAN, None)  # it does not tell donors apart
        compared = [*models, *([LINEAR] if LINEAR in inside else [])]
        index = cohort.index[box]
        varied = (np.ptp(index.sum(axis=2), axis=1) > 0) & (np.ptp(observed, axis=1) > 0)
        varying = {name: rpm[varied] for name, rpm in inside.items()}
        evaluation.ask(subset, donor_questions(observed[varied], varying), compared)
        _permuted_donors(evaluation, subset, observed[varied], varying)
        _, between = count_questions(counts[varied], sizes, varying)
        evaluation.ask(subset, [between], compared)
        dosage = main_dosage(cohort.index[loci])[:, donors]
        carried = np.ptp(dosage, axis=1) > 0
        carrying = {name: rpm[carried] for name, rpm in inside.items()}
        evaluation.ask(subset, allele_questions(observed[carried], carrying, dosage[carried]), compared)


def _permuted_donors(evaluation: Evaluation, subset: str, observed: Matrix, predicted: Mapping[str, Matrix]) -> None:
    """Each model less itself with its predictions permuted among the donors of a locus: what it owes to the right donor."""
    for name, rpm in predicted.items():
        permuted = np.random.default_rng(evaluation.seed).permuted(rpm, axis=1)
        between = donor_questions(observed, {name: rpm, PERMUTED: permuted})[-1]
        evaluation.compare(subset, between, name, PERMUTED)


def _observed_imbalance(cohort: Cohort) -> Imbalance | None:
    """What allelic reads say of donors whose haplotypes differ within the widest model's input."""
    found = cohort.allelic and observed_imbalance(cohort.allelic, cohort.index[..., 0] != cohort.index[..., 1])
    if not found:
        log.info("no reads tell haplotypes apart: allelic imbalance is not evaluated")
    return found or None


def _imbalance(
    evaluation: Evaluation, folds: Folds, seen: Imbalance, ratios: Predictions, models: Sequence[str]
) -> None:
    """Predicted against observed allelic imbalance, and each model less itself with haplotypes swapped at random."""
    for subset, role, loci, donors in folds.cells():
        inside = {name: ratio[np.ix_(loci, donors)] for name, ratio in ratios[role].items()}
        here = seen.of(loci, donors)
        evaluation.ask(subset, imbalance_questions(here, inside), models)
        swap = np.random.default_rng(evaluation.seed).choice([-1.0, 1.0], here.observed.shape)
        for name, ratio in inside.items():
            for question in imbalance_questions(here, {name: ratio, SWAPPED: ratio * swap})[:1]:
                evaluation.compare(subset, question, name, SWAPPED)


def _imbalance_replicates(evaluation: Evaluation, cohort: Cohort, folds: Folds) -> None:
    """The ceiling of allelic imbalance: how well one library of a donor predicts the other (:func:`_replicates`)."""
    assert cohort.allelic is not None
    owner = pd.DataFrame({"donor": [cohort.donors[donor] for donor in cohort.allelic.donor]})
    pairs = replicate_pairs(owner)
    differ = cohort.index[..., 0] != cohort.index[..., 1]
    each = observed_imbalance(cohort.allelic, differ, by_library=True) if pairs else None
    if each is None:
        return
    for where in ("seen_loci", "unseen_loci"):
        first, second = (each.of(folds.loci(where), np.array([pair[side] for pair in pairs])) for side in (1, 2))
        both = first.asked & second.asked
        with np.errstate(invalid="ignore"):
            shared = first.information * second.information / (first.information + second.information)
        measured = Imbalance(np.where(both, first.observed, np.nan), shared, first.significant)
        for question in imbalance_questions(measured, {REPLICATES: second.observed})[:1]:
            evaluation.add_ceiling(where, question)


def _training(
    evaluation: Evaluation, cohort: Cohort, folds: Folds, predicted: Predictions, ensembles: Mapping[str, Ensemble]
) -> None:
    """Whether each model has learned: r across its validation loci, how long it was trained and why it ended.

    A model whose interval of ``across_loci_r`` holds 0 even where its best epoch was chosen has learned nothing, and no
    comparison with it says anything. Counts of epochs are means over checkpoints with their range as interval.
    """
    loci, donors = folds.loci("validation_loci"), folds.donors["seen_donors"]
    box = np.ix_(loci, donors)
    tuned = {
        name: ensemble for name, ensemble in ensembles.items() if any(fold_of(model) is not None for model in ensemble)
    }
    chosen = {name: predicted["validation_loci"][name][box] for name in tuned}
    evaluation.ask("validation_loci/seen_donors", locus_questions(cohort.rpm[box], chosen), [])
    for name, ensemble in tuned.items():
        records = [model.config["training"] for model in ensemble if fold_of(model) is not None]
        for metric, value_of in (
            ("epochs_trained", lambda record: record.get("epochs_trained")),
            ("best_epoch", lambda record: record.get("best_epoch")),
            ("ended_by_patience", lambda record: record.get("ended_by") and float(record["ended_by"] == "patience")),
            ("departures_from_recipe", lambda record: len(record.get("departures", []))),
        ):
            values = [float(value) for value in map(value_of, records) if value is not None]
            if values:
                summary = Estimate(float(np.mean(values)), min(values), max(values), len(values))
                evaluation.add(name, "training", metric, summary)


def _replicates(evaluation: Evaluation, counts: Path, cohort: Cohort, folds: Folds) -> None:
    """The ceiling: the square root of how well one library of a donor predicts the other.

    r of two replicates is a reliability: both are noisy. A model that knew the truth has no noise of its own and reaches
    the square root. The reliability itself is the metric with ``_reliability`` appended. Both are of single libraries; of
    donors with several, and of means over many donors, signals are more reliable than that.
    """
    from allelegro.procap.counts import CountsStore, library_sizes

    store = CountsStore.open(counts)  # verified when the cohort was loaded
    rpm = store.counts(cohort.target_width).sum(axis=2) / library_sizes(store.libraries)
    pairs = replicate_pairs(store.libraries)
    if not pairs:
        log.warning("no donor has two libraries: no replicate ceiling")
        return
    first, second = rpm[:, [one for _, one, _ in pairs]], rpm[:, [other for _, _, other in pairs]]
    for where in ("seen_loci", "unseen_loci"):
        rows = folds.loci(where)
        questions = locus_questions(first[rows], {REPLICATES: second[rows]})
        if len(pairs) >= MINIMAL_DONORS:
            index = cohort.index[np.ix_(rows, np.array([cohort.donors.index(donor) for donor, _, _ in pairs]))]
            varied = rows[(np.ptp(index.sum(axis=2), axis=1) > 0) & (np.ptp(first[rows], axis=1) > 0)]
            questions += donor_questions(first[varied], {REPLICATES: second[varied]})
        for question in questions:
            if not question.metric.endswith("_right_sign"):  # no correlation, so no reliability
                evaluation.add_ceiling(where, question)


def ceiling(reliability: Estimate) -> Estimate:
    """r that a model without noise reaches: the square root of the replicates' r, 0 where these disagree."""
    value, low, high, n = reliability
    root = [float(np.sqrt(max(number, 0.0))) if number == number else np.nan for number in (value, low, high)]
    return Estimate(root[0], root[1], root[2], n)


def _profiles(
    evaluation: Evaluation, counts: Path, cohort: Cohort, folds: Folds, name: str, ensemble: Ensemble
) -> None:
    """CLIPNET's profile metric: Pearson of predicted and observed base-resolution signal at a locus, the cell's donors merged."""
    profiles = load_profiles(counts, cohort)
    pairs = distinct_diplotypes(cohort)
    for subset, role, loci, donors in folds.cells():
        chosen = np.isin(np.arange(len(cohort.donors)), donors)
        r = np.full(len(loci), np.nan)
        for start in range(0, len(loci), 64):
            part = loci[start : start + 64]
            expected = np.zeros((len(part), 2 * cohort.target_width))
            for fold, split in folds.splits.items():
                inside = np.isin(part, loci_by_role(split)[role])
                models = [model for model in ensemble if fold_of(model) == fold]
                expected[inside] += merged_tracks(models, cohort, pairs, part[inside], donors)
            observed = _observed_profiles(profiles, part, chosen, expected.shape[1])
            r[start : start + len(part)] = rowwise_r(observed, expected)
        evaluation.ask(subset, [Question("profile_r_median", "median", {name: r})], [])


@torch.inference_mode()
def merged_tracks(models: Ensemble, cohort: Cohort, pairs: Diplotypes, loci: Rows, donors: Rows) -> Matrix:
    """Predicted signal ``[locus, output]`` of some donors together, the mean of CLIPNET models."""
    sizes = pairs.offsets[loci + 1] - pairs.offsets[loci]
    rows = concatenated_ranges(pairs.offsets[loci], sizes)
    track = np.zeros((len(rows), 2 * cohort.target_width))
    for model in models:
        done = 0
        for forward, reverse in _clipnet_batches(model, cohort, pairs, rows):
            both = (_track(*forward) + _track(*reverse)).cpu().numpy()
            track[done : done + len(both)] += both / len(models)
            done += len(both)
    carriers = np.bincount(
        ((np.cumsum(sizes) - sizes)[:, None] + pairs.index[loci][:, donors]).ravel(),
        np.broadcast_to(cohort.sizes[donors], (len(loci), len(donors))).ravel(),
        len(rows),
    )
    expected = np.zeros((len(loci), track.shape[1]))
    np.add.at(expected, np.repeat(np.arange(len(loci)), sizes), track * carriers[:, None])
    return expected


def _track(profile: Tensor, quantity: Tensor) -> Tensor:
    """CLIPNET's final prediction: the profile's shape with the quantity's sum."""
    return profile / profile.sum(dim=1, keepdim=True).clamp(min=1e-12) * quantity[:, None]


def _observed_profiles(profiles: Profiles, loci: NDArray[np.int64], donors: NDArray[np.bool_], outputs: int) -> Matrix:
    """Summed counts of some donors ``[locus, output]``."""
    starts, sizes = profiles.offsets[loci], profiles.offsets[loci + 1] - profiles.offsets[loci]
    entry = concatenated_ranges(starts, sizes)
    place = np.repeat(np.arange(len(loci)), sizes) * outputs + profiles.position[entry]
    value = profiles.value[entry] * donors[profiles.donor[entry]]
    return np.asarray(np.bincount(place, value, len(loci) * outputs), np.float64).reshape(len(loci), outputs)


def _write_predictions(cohort: Cohort, folds: Folds, predicted: Predictions, path: Path) -> None:
    """One row a window and donor: RPM observed, and predicted by the models that held the window out where there are any."""
    cell = np.empty(cohort.counts.shape, dtype=object)
    rpm = {name: np.full(cohort.counts.shape, np.nan) for found in predicted.values() for name in found}
    for role in ROLES:
        loci = folds.loci(role)
        for who, donors in folds.donors.items():
            cell[np.ix_(loci, donors)] = f"{role}/{who}"
        for name, values in rpm.items():
            values[loci] = predicted[role][name][loci] if name in predicted[role] else np.nan
    loci, donors = cohort.counts.shape
    columns: dict[str, object] = {
        "window": pd.Categorical(np.repeat(cohort.windows["name"].to_numpy(), donors)),
        "donor": pd.Categorical(np.tile(np.array(cohort.donors), loci)),
        "fold": np.repeat(cohort.windows["fold"].to_numpy(np.int32), donors),
        "cell": pd.Categorical(cell.ravel()),
        "observed": cohort.rpm.ravel().astype(np.float32),
    }
    columns |= {name: values.ravel().astype(np.float32) for name, values in rpm.items()}
    with atomic_path(path) as partial:
        pd.DataFrame(columns).to_parquet(partial, index=False)
