"""Every model, twin and baseline on the same loci and donors, in the four cells seen/unseen locus × seen/unseen donor."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from allelegro.io.metrics import write_metrics
from allelegro.io.tables import read_table
from allelegro.models.checkpoint import QUANTITY_PSEUDOCOUNT, LoadedModel, load_model
from allelegro.models.clipnet import Clipnet, reverse_profile
from allelegro.models.device import choose_device
from allelegro.models.encoding import reverse_complement
from allelegro.statistics import Estimate
from allelegro.training.baselines import linear_genotypes, locus_mean, replicate_pairs
from allelegro.training.cohort import (
    LN2,
    Cohort,
    Diplotypes,
    Profiles,
    Split,
    distinct_diplotypes,
    load_cohort,
    load_profiles,
    make_split,
)
from allelegro.training.metrics import (
    MINIMAL_DONORS,
    Question,
    allele_questions,
    donor_questions,
    effect_questions,
    locus_questions,
    main_dosage,
    rowwise_r,
)

log = logging.getLogger(__name__)

Matrix = NDArray[np.float64]
Row = dict[str, object]

LOCUS_MEAN, LINEAR, REPLICATES = "locus_mean", "linear_genotypes", "replicates"
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
                difference = question.difference(first, second, self.n_boot, self.seed)
                self.add(f"{first} - {second}", subset, f"{question.metric}_difference", difference)

    def add(self, model: str, subset: str, metric: str, estimate: Estimate) -> None:
        """Add one row."""
        value, low, high, n = estimate
        self.rows.append(
            {
                "stage": "training", "dataset": self.dataset, "model": model, "subset": subset, "metric": metric,
                "value": value, "ci_low": low, "ci_high": high, "n": n,
            }
        )  # fmt: skip


def evaluate(
    counts: Path,
    haplotypes: Path,
    models: Sequence[tuple[str, Path]],
    out_metrics: Path,
    out_predictions: Path,
    *,
    effects: Path | None = None,
    target_width: int = 500,
    dataset: str = "procap",
    n_boot: int = 1000,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Predict with every model and write tidy metrics and predictions.

    ``models`` are (name, checkpoint); checkpoints of one name are averaged (in log RPM). Held-out folds and donors are those
    recorded in the checkpoints, which must agree. Raises DataError when they do not, or when stores and models do not fit.
    """
    place = choose_device(device)
    ensembles: dict[str, list[LoadedModel]] = {}
    for name, path in models:
        ensembles.setdefault(name, []).append(load_model(path, place))
    cohorts = _cohorts(counts, haplotypes, ensembles, target_width)
    narrow = cohorts[min(cohorts)]
    split = _common_split(narrow, models, ensembles)
    predicted = {
        name: np.exp(np.mean([log_rpm(model, cohorts[model.insert_width]) for model in members], axis=0))
        for name, members in ensembles.items()
    }
    evaluation = Evaluation(dataset, n_boot, seed)
    everything = predicted | _baselines(haplotypes, narrow, split)
    _cells(evaluation, narrow, split, everything, list(predicted))
    _replicates(evaluation, counts, narrow, split)
    for name, members in ensembles.items():
        if all(isinstance(model.module, Clipnet) for model in members):
            _profiles(evaluation, counts, cohorts[members[0].insert_width], split, name, members)
    if effects is not None:
        _true_effects(evaluation, effects, cohorts, split, ensembles)
    write_metrics(evaluation.rows, out_metrics)
    _write_predictions(narrow, split, everything, out_predictions)


def _cohorts(
    counts: Path, haplotypes: Path, ensembles: Mapping[str, list[LoadedModel]], target_width: int
) -> dict[int, Cohort]:
    """The data at every input width that a model wants."""
    widths = {model.insert_width for members in ensembles.values() for model in members}
    return {width: load_cohort(counts, haplotypes, width, target_width) for width in sorted(widths)}


def _common_split(
    cohort: Cohort, models: Sequence[tuple[str, Path]], ensembles: Mapping[str, list[LoadedModel]]
) -> Split:
    """The split that all PRO-cap models were trained with; a model of lentiMPRA alone has none and takes theirs."""
    chosen: tuple[Path, tuple[int, int, tuple[str, ...]]] | None = None
    loaded = [model for members in ensembles.values() for model in members]
    paths = [path for name in ensembles for other, path in models if other == name]
    for path, model in zip(paths, loaded, strict=True):
        if model.config["target"]["kind"] != "log_rate":
            continue
        training = model.config["training"]
        roles = (training["test_fold"], training["validation_fold"], tuple(sorted(training["test_donors"])))
        if chosen is not None and chosen[1] != roles:
            raise DataError(
                f"{path}: folds or held-out donors differ from those of {chosen[0]}; "
                "compare models trained with one split (--test-fold, --validation-fold, --split-seed)"
            )
        chosen = chosen or (path, roles)
    if chosen is None:
        raise DataError(f"{paths[0]}: no model was fine-tuned on PRO-cap; give at least one made by finetune_model.py")
    test_fold, validation_fold, donors = chosen[1]
    known = [donor for donor in donors if donor in cohort.donors]
    return make_split(cohort, test_fold, validation_fold, test_donors=known, test_donor_fraction=0.0)


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


@torch.inference_mode()
def clipnet_diplotypes(model: LoadedModel, cohort: Cohort, pairs: Diplotypes) -> NDArray[np.float32]:
    """Log RPM of each distinct diplotype ``[n]``, both strands averaged in the logarithm."""
    results = [
        torch.stack([torch.log(quantity + QUANTITY_PSEUDOCOUNT) for _, quantity in strands]).mean(0).cpu()
        for strands in _clipnet_batches(model, cohort, pairs, np.arange(len(pairs.pairs)))
    ]
    return np.asarray(torch.cat(results) - np.log(model.config["target"]["scale"]))


def _clipnet_batches(
    model: LoadedModel, cohort: Cohort, pairs: Diplotypes, rows: NDArray[np.int64]
) -> Iterator[tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]:
    """Profile and quantity of diplotypes, batch by batch, as read and as reverse complement (turned back)."""
    locus = np.repeat(np.arange(len(cohort.windows)), np.diff(pairs.offsets))
    members = pairs.pairs + cohort.offsets[locus, None]
    for start in range(0, len(rows), _BATCH):
        part = members[rows[start : start + _BATCH]]
        first, second = (torch.from_numpy(cohort.codes[part[:, side]]).to(model.device) for side in (0, 1))
        profile, quantity = model.module(Clipnet.encode(first, second))
        turned, again = model.module(Clipnet.encode(reverse_complement(first), reverse_complement(second)))
        yield (profile, quantity), (reverse_profile(turned), again)


def _baselines(haplotypes: Path, cohort: Cohort, split: Split) -> dict[str, Matrix]:
    from allelegro.genotype.store import HaplotypeStore

    store = HaplotypeStore.open(haplotypes)
    return {
        LOCUS_MEAN: locus_mean(cohort, split.train_loci, split.train_donors),
        LINEAR: linear_genotypes(store, cohort, split.train_loci, split.train_donors),
    }


def cells(split: Split) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Loci and donors of the four cells; loci of the validation fold are in none, they chose the epoch."""
    loci = {"seen_loci": split.train_loci, "unseen_loci": split.test_loci}
    donors = {"seen_donors": split.train_donors, "unseen_donors": split.test_donors}
    return {f"{where}/{who}": (loci[where], donors[who]) for where in loci for who in donors}


def _cells(
    evaluation: Evaluation, cohort: Cohort, split: Split, predicted: Mapping[str, Matrix], models: Sequence[str]
) -> None:
    for subset, (loci, donors) in cells(split).items():
        if not len(donors):
            continue
        box = np.ix_(loci, donors)
        inside = {name: rpm[box] for name, rpm in predicted.items() if not np.isnan(rpm[box]).any()}
        observed = cohort.rpm[box]
        compared = [*models, *(name for name in (LOCUS_MEAN, LINEAR) if name in inside)]
        evaluation.ask(subset, locus_questions(observed, inside), compared)
        if len(donors) < MINIMAL_DONORS:
            log.warning(
                "%s: %d donors are too few for correlations within a locus (%d)", subset, len(donors), MINIMAL_DONORS
            )
            continue
        index = cohort.index[box]
        varied = (np.ptp(index.sum(axis=2), axis=1) > 0) & (np.ptp(observed, axis=1) > 0)
        compared = [*models, *([LINEAR] if LINEAR in inside else [])]
        varying = {name: rpm[varied] for name, rpm in inside.items() if name != LOCUS_MEAN}
        evaluation.ask(subset, donor_questions(observed[varied], varying), compared)
        dosage = main_dosage(cohort.index[loci])[:, donors]
        carried = np.ptp(dosage, axis=1) > 0
        evaluation.ask(
            subset,
            allele_questions(
                observed[carried],
                {name: rpm[carried] for name, rpm in inside.items() if name != LOCUS_MEAN},
                dosage[carried],
            ),
            compared,
        )


def _replicates(evaluation: Evaluation, counts: Path, cohort: Cohort, split: Split) -> None:
    """The ceiling: one library of a donor predicts the other, and half of all libraries the other half."""
    from allelegro.procap.counts import CountsStore, library_sizes

    store = CountsStore.open(counts)
    rpm = store.counts(cohort.target_width).sum(axis=2) / library_sizes(store.libraries)
    pairs = replicate_pairs(store.libraries)
    loci = {"seen_loci": split.train_loci, "unseen_loci": split.test_loci}
    if not pairs:
        log.warning("no donor has two libraries: no replicate ceiling")
        return
    first, second = rpm[:, [one for _, one, _ in pairs]], rpm[:, [other for _, _, other in pairs]]
    for where, rows in loci.items():
        subset = f"{where}/replicated_donors"
        questions = locus_questions(first[rows], {REPLICATES: second[rows]})
        if len(pairs) >= MINIMAL_DONORS:
            index = cohort.index[np.ix_(rows, np.array([cohort.donors.index(donor) for donor, _, _ in pairs]))]
            varied = rows[(np.ptp(index.sum(axis=2), axis=1) > 0) & (np.ptp(first[rows], axis=1) > 0)]
            questions += donor_questions(first[varied], {REPLICATES: second[varied]})
        evaluation.ask(subset, questions, [])


@torch.inference_mode()
def _profiles(
    evaluation: Evaluation, counts: Path, cohort: Cohort, split: Split, name: str, members: Sequence[LoadedModel]
) -> None:
    """CLIPNET's profile metric: Pearson of predicted and observed base-resolution signal at a locus, the cell's donors merged."""
    profiles = load_profiles(counts, cohort)
    pairs = distinct_diplotypes(cohort)
    for subset, (loci, donors) in cells(split).items():
        if not len(donors):
            continue
        chosen = np.zeros(len(cohort.donors), bool)
        chosen[donors] = True
        r = np.full(len(loci), np.nan)
        for start in range(0, len(loci), 64):
            part = loci[start : start + 64]
            sizes = pairs.offsets[part + 1] - pairs.offsets[part]
            rows = concatenated_ranges(pairs.offsets[part], sizes)
            track = np.zeros((len(rows), 2 * cohort.target_width))
            for model in members:
                done = 0
                for forward, turned in _clipnet_batches(model, cohort, pairs, rows):
                    both = (_track(*forward) + _track(*turned)).cpu().numpy()
                    track[done : done + len(both)] += both
                    done += len(both)
            local = np.repeat(np.arange(len(part)), sizes)
            carriers = np.bincount(
                ((np.cumsum(sizes) - sizes)[:, None] + pairs.index[part][:, donors]).ravel(),
                np.broadcast_to(cohort.sizes[donors], (len(part), len(donors))).ravel(),
                len(rows),
            )
            expected = np.zeros((len(part), track.shape[1]))
            np.add.at(expected, local, track * carriers[:, None])
            r[start : start + len(part)] = rowwise_r(
                _observed_profiles(profiles, part, chosen, track.shape[1]), expected
            )
        evaluation.ask(subset, [Question("profile_r_median", "median", {name: r})], [])


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


def _true_effects(
    evaluation: Evaluation,
    table: Path,
    cohorts: Mapping[int, Cohort],
    split: Split,
    ensembles: Mapping[str, list[LoadedModel]],
) -> None:
    """Predicted log2 effects of single-nucleotide variants on the reference window against a table of true ones."""
    narrow = min(cohorts)
    truth = read_table(table, ["chrom", "pos", "ref", "alt", "effect"])
    locus, offset, rows = _place_variants(truth, cohorts[narrow])
    measured = truth["effect"].to_numpy(np.float64)[rows]
    alt = np.array(["ACGT".index(base) for base in truth["alt"].iloc[rows]], np.uint8)
    effects = {}
    for name, members in ensembles.items():
        values = []
        for model in members:
            cohort = cohorts[model.insert_width]
            reference = cohort.codes[cohort.offsets[locus]]
            alternative = reference.copy()
            alternative[np.arange(len(rows)), offset + cohort.span // 2] = alt
            pair = (model.predict_log2(model.in_context(codes)) for codes in (alternative, reference))
            values.append(np.subtract(*pair).astype(np.float64))
        effects[name] = np.mean(values, axis=0)
    for subset, loci in (("seen_loci/alleles", split.train_loci), ("unseen_loci/alleles", split.test_loci)):
        kept = np.isin(locus, loci)
        if kept.sum() < 2:
            log.warning("%s: %d variants of %s lie in these windows", subset, kept.sum(), table)
            continue
        inside = {name: value[kept] for name, value in effects.items()}
        evaluation.ask(subset, effect_questions("true_effect", measured[kept], inside), list(ensembles))


def _place_variants(
    truth: pd.DataFrame, cohort: Cohort
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """SNVs within the models' input: the nearest window, the offset from its centre, and the row of the table."""
    snv = np.flatnonzero(truth["ref"].isin(list("ACGT")) & truth["alt"].isin(list("ACGT")))
    places: list[tuple[NDArray[np.int64], ...]] = []
    windows = cohort.windows
    for chrom, group in windows.groupby("chrom", sort=False):
        rows = snv[(truth["chrom"].astype(str) == str(chrom)).to_numpy()[snv]]
        order = group.index.to_numpy()[np.argsort(group["start"].to_numpy(), kind="stable")]
        starts, ends = windows["start"].to_numpy()[order], windows["end"].to_numpy()[order]
        centres = starts + (ends - starts) // 2
        position = truth["pos"].to_numpy(np.int64)[rows] - 1
        right = np.searchsorted(centres, position).clip(1, max(len(order) - 1, 1))
        nearest = np.where(
            np.abs(centres[right - 1] - position) <= np.abs(centres[right % len(order)] - position), right - 1, right
        )
        nearest = np.minimum(nearest, len(order) - 1)
        offset = position - centres[nearest]
        inside = (offset >= -(cohort.span // 2)) & (offset < cohort.span - cohort.span // 2)
        places.append((order[nearest][inside], offset[inside], rows[inside]))
    if not sum(len(part[0]) for part in places):
        raise DataError(
            "none of the SNVs of --effects lies in a window's input; check the contig names and coordinates"
        )
    locus, offset, rows = (np.concatenate(parts) for parts in zip(*places, strict=True))
    reference = cohort.codes[cohort.offsets[locus], offset + cohort.span // 2]
    wrong = np.flatnonzero(reference != np.array(["ACGT".index(base) for base in truth["ref"].iloc[rows]], np.uint8))
    if wrong.size:
        bad = truth.iloc[rows[wrong[0]]]
        raise DataError(
            f"--effects row {rows[wrong[0]] + 1}: REF {bad['ref']} at {bad['chrom']}:{bad['pos']} is not the reference "
            f"base of the haplotype store ({'ACGTN'[reference[wrong[0]]]}); use the genome that the store was made from"
        )
    return locus, offset, rows


def _write_predictions(cohort: Cohort, split: Split, predicted: Mapping[str, Matrix], path: Path) -> None:
    """One row a window and donor: RPM observed and predicted."""
    where = np.full(len(cohort.windows), "validation_loci", dtype=object)
    where[split.train_loci], where[split.test_loci] = "seen_loci", "unseen_loci"
    who = np.full(len(cohort.donors), "seen_donors", dtype=object)
    who[split.test_donors] = "unseen_donors"
    loci, donors = cohort.counts.shape
    columns: dict[str, object] = {
        "window": pd.Categorical(np.repeat(cohort.windows["name"].to_numpy(), donors)),
        "donor": pd.Categorical(np.tile(np.array(cohort.donors), loci)),
        "fold": np.repeat(cohort.windows["fold"].to_numpy(np.int32), donors),
        "cell": pd.Categorical((where[:, None] + "/" + who[None]).ravel()),
        "observed": cohort.rpm.ravel().astype(np.float32),
    }
    columns |= {name: rpm.ravel().astype(np.float32) for name, rpm in predicted.items()}
    with atomic_path(path) as partial:
        pd.DataFrame(columns).to_parquet(partial, index=False)
