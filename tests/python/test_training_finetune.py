"""The diploid data, likelihoods and fine-tuning against slow references and a toy cohort of known truth."""

import copy
import json
import os
import random
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats
from torch._subclasses.fake_tensor import FakeTensorMode

from allelegro.cli.finetune_model import app
from allelegro.errors import DataError
from allelegro.io.checksums import sha256
from allelegro.models.checkpoint import load_model
from allelegro.models.clipnet import Clipnet
from allelegro.models.encoding import one_hot
from allelegro.models.legnet import PRESETS, LegNet
from allelegro.procap.counts import CountsStore
from allelegro.statistics import ridge
from allelegro.training import engine
from allelegro.training.cohort import (
    diploid_log_rate,
    distinct_diplotypes,
    for_donors,
    held_out,
    load_cohort,
    load_profiles,
    make_split,
    ranges,
    with_genotypes,
)
from allelegro.training.finetune import finetune
from allelegro.training.losses import CountLoss
from allelegro.training.objectives import ClipnetObjective, DiploidLegNet, LegNetObjective
from allelegro.training.settings import FinetuneSettings
from helpers.slow_haplotypes import Cohort as SlowCohort
from helpers.slow_haplotypes import Record, extract, random_dna
from helpers.toy_stores import EFFECT, make_toy, write_counts

torch.set_num_threads(1)
TINY = FinetuneSettings(
    preset="tiny", input_width=100, target_width=120, epochs=8, batch_loci=16, max_shift=2, test_donor_fraction=0.25
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def big_toy(tmp_path_factory):
    return make_toy(tmp_path_factory.mktemp("big"), loci=240, donors=16)


# ------------------------------------------------------------------------------------------------------------- data


def test_cohort_holds_what_the_stores_hold(toy):
    cohort = load_cohort(toy.counts, toy.haplotypes, span=60, target_width=120)
    assert cohort.donors == toy.donors
    first = (120 - 60) // 2
    for locus in (0, 17, 59):
        rows = cohort.codes[cohort.offsets[locus] : cohort.offsets[locus + 1]]
        assert len(np.unique(rows, axis=0)) == len(rows)
        np.testing.assert_array_equal(rows[0], toy.sequences[locus, 0, first : first + 60])
        np.testing.assert_array_equal(
            rows[cohort.index[locus]], toy.sequences[locus, toy.index[locus], first : first + 60]
        )
    owner = [toy.donors.index(name.split("_")[0]) for name in toy.libraries]
    expected = np.zeros((60, 12), int)
    np.add.at(expected.T, owner, toy.library_counts.T)
    np.testing.assert_array_equal(cohort.counts, expected)


def test_narrow_crops_keep_fewer_haplotypes(toy):
    wide, narrow = (load_cohort(toy.counts, toy.haplotypes, span, 120) for span in (120, 10))
    # The central 10 bp hold the first SNV (3 bp right of the centre) alone.
    assert np.diff(narrow.offsets).max() == 2
    assert np.diff(wide.offsets).max() == 4


def test_target_width_and_library_sizes(toy):
    cohort = load_cohort(toy.counts, toy.haplotypes, 60, 60)
    assert (cohort.counts == load_cohort(toy.counts, toy.haplotypes, 60, 120).counts).all()  # reads lie in the middle
    assert (load_cohort(toy.counts, toy.haplotypes, 60, 20).counts.sum(0) < cohort.counts.sum(0)).all()
    # Donors with two libraries have both sizes.
    assert cohort.sizes[:2].mean() > 1.4 * cohort.sizes[2:].mean()


def test_profiles_sum_to_counts(toy):
    for width in (120, 40):
        cohort = load_cohort(toy.counts, toy.haplotypes, 60, width)
        profiles = load_profiles(toy.counts, cohort)
        locus = np.repeat(np.arange(60), np.diff(profiles.offsets))
        summed = np.zeros((60, 12))
        np.add.at(summed, (locus, profiles.donor), profiles.value)
        np.testing.assert_array_equal(summed, cohort.counts)
        assert profiles.position.max() < 2 * width
        key = (locus * 12 + profiles.donor) * 240 + profiles.position
        assert len(np.unique(key)) == len(key)


def test_donors_are_held_out_by_person_and_the_split_is_the_same_for_every_model(toy):
    cohorts = [load_cohort(toy.counts, toy.haplotypes, span, 120) for span in (60, 100)]
    splits = [make_split(cohort, 0, 1, seed=3, test_donor_fraction=0.25) for cohort in cohorts]
    for name in ("train_loci", "validation_loci", "test_loci", "train_donors", "test_donors"):
        np.testing.assert_array_equal(getattr(splits[0], name), getattr(splits[1], name))
    assert len(splits[0].test_donors) == 3
    assert not set(splits[0].test_donors) & set(splits[0].train_donors)
    assert (cohorts[0].windows["fold"].to_numpy()[splits[0].test_loci] == 0).all()
    named = make_split(cohorts[0], 0, 1, test_donors=["D03", "D05"])
    assert named.test_donors.tolist() == [3, 5]


def test_relatives_are_held_out_together_or_not_at_all(toy, caplog):
    cohort = load_cohort(toy.counts, toy.haplotypes, 60, 120)
    family = {donor: place // 3 for place, donor in enumerate(cohort.donors)}  # four families of three
    drawn = set()
    for seed in range(20):
        split = make_split(cohort, 0, 1, seed=seed, test_donor_fraction=0.5, families=family)
        assert len(split.test_donors) == 6
        assert not {donor // 3 for donor in split.test_donors} & {donor // 3 for donor in split.train_donors}
        drawn.add(tuple(split.test_donors))
    assert len(drawn) > 3
    assert not caplog.text
    too_few = make_split(cohort, 0, 1, test_donor_fraction=0.34, families=family)  # 4 of 12: one family of three fits
    assert len(too_few.test_donors) == 3 and "3 donors are held out instead of 4" in caplog.text
    make_split(cohort, 0, 1, test_donors=["D03"], families=family)
    assert "D03, D04, D05 are related, and some of them are in training" in caplog.text
    alone = dict(zip(cohort.donors, range(12), strict=True))
    np.testing.assert_array_equal(
        make_split(cohort, 0, 1, seed=3, families=alone).test_donors, make_split(cohort, 0, 1, seed=3).test_donors
    )


def test_held_out_chromosomes_or_blocks(toy):
    windows = load_cohort(toy.counts, toy.haplotypes, 60, 120).windows
    nothing = np.zeros(60, bool)
    assert held_out(windows, 0, nothing) == (["chr1"], None)
    one = windows.assign(chrom="chr1", start=np.arange(60) * 1000, end=np.arange(60) * 1000 + 120)
    one["fold"] = np.arange(60) // 10 % 3
    chosen = [*range(10), *range(30, 40)]
    assert held_out(one, 0, nothing) == (None, [["chr1", i * 1000, i * 1000 + 120] for i in chosen])
    assert held_out(one, 0, np.arange(60) < 30) == (None, [["chr1", i * 1000, i * 1000 + 120] for i in range(30, 40)])
    # A chromosome of which an earlier stage saw something is not held out as a whole.
    first = windows.index[windows["fold"] == 0][0]
    assert len(held_out(windows, 0, windows.index == first)[1]) == (windows["fold"] == 0).sum() - 1


def test_control_models(toy):
    cohort = load_cohort(toy.counts, toy.haplotypes, 100, 120)
    reference = with_genotypes(cohort, "reference", 0)
    assert not reference.index.any()
    assert len(for_donors(reference, np.arange(12)).codes) == 60
    shuffled = with_genotypes(cohort, "shuffled", 0)
    assert (np.sort(shuffled.index, axis=None) == np.sort(cohort.index, axis=None)).all()
    key = cohort.index[..., 0] * 4 + cohort.index[..., 1]
    moved = shuffled.index[..., 0] * 4 + shuffled.index[..., 1]
    np.testing.assert_array_equal(np.sort(key, axis=1), np.sort(moved, axis=1))  # within each locus
    orders = {tuple(row) for row in np.argsort(moved, axis=1, kind="stable")}
    assert len(orders) > 50  # every locus has its own permutation
    np.testing.assert_array_equal(shuffled.index, with_genotypes(cohort, "shuffled", 0).index)
    assert (shuffled.index != with_genotypes(cohort, "shuffled", 1).index).any()


def test_subset_of_donors_drops_haplotypes_that_nobody_carries(toy):
    cohort = load_cohort(toy.counts, toy.haplotypes, 100, 120)
    few = for_donors(cohort, np.array([4, 2]))
    assert len(few.codes) < len(cohort.codes)
    for locus in range(60):
        expected = cohort.codes[cohort.offsets[locus] + cohort.index[locus, [4, 2]]]
        np.testing.assert_array_equal(few.codes[few.offsets[locus] + few.index[locus]], expected)
        np.testing.assert_array_equal(few.codes[few.offsets[locus]], cohort.codes[cohort.offsets[locus]])


def test_distinct_diplotypes_are_unordered_and_complete(toy):
    cohort = load_cohort(toy.counts, toy.haplotypes, 100, 120)
    pairs = distinct_diplotypes(cohort)
    for locus in range(60):
        mine = pairs.pairs[pairs.offsets[locus] : pairs.offsets[locus + 1]]
        np.testing.assert_array_equal(mine[pairs.index[locus]], np.sort(cohort.index[locus], axis=1))
        assert len({tuple(pair) for pair in mine.tolist()}) == len(mine)
        assert len(mine) == len({tuple(sorted(pair)) for pair in cohort.index[locus].tolist()})


def test_ranges():
    rows, local = ranges(torch.tensor([0, 2, 2, 5, 9]), torch.tensor([2, 0, 1, 3]))
    assert rows.tolist() == [2, 3, 4, 0, 1, 5, 6, 7, 8]
    assert local.tolist() == [0, 3, 5, 5]


# ------------------------------------------------------------------------------------------------------ likelihoods


def test_diploid_rate_is_the_mean_on_the_raw_scale():
    f = torch.log(torch.tensor([2.0, 6.0, 10.0]))
    rates = diploid_log_rate(f, torch.tensor([[0, 0], [0, 1], [2, 1]])).exp()
    torch.testing.assert_close(rates, torch.tensor([2.0, 4.0, 8.0]))


@pytest.fixture
def observed():
    rng = np.random.default_rng(0)
    sizes = rng.uniform(0.5, 2, 6)
    log_rate = rng.normal(2, 1, (5, 1)) + rng.normal(0, 0.3, (5, 6))
    counts = rng.poisson(np.exp(log_rate) * sizes)
    return tuple(torch.tensor(value) for value in (log_rate, counts, sizes))


def test_poisson_loss_is_the_likelihood_of_independent_donors(observed):
    log_rate, counts, sizes = observed
    expected = -stats.poisson.logpmf(counts.numpy(), (log_rate.exp() * sizes).numpy()).sum(axis=1).mean()
    assert float(CountLoss("poisson", 1.0)(*observed)) == pytest.approx(expected)


def test_nb_loss_is_negative_binomial_total_times_dirichlet_multinomial(observed):
    log_rate, counts, sizes = observed
    loss = CountLoss("nb", 0.7)
    with torch.no_grad():
        loss.log_dispersion.copy_(torch.tensor([0.3, -1.5]))
    mean = (log_rate.exp() * sizes).numpy()
    size, donor_size = np.exp(-0.3), np.exp(1.5)
    total = mean.sum(axis=1)
    locus = stats.nbinom.logpmf(counts.numpy().sum(axis=1), size, size / (size + total))
    share = [
        stats.dirichlet_multinomial.logpmf(row, probability * donor_size * 6, row.sum())
        for row, probability in zip(counts.numpy(), mean / total[:, None], strict=True)
    ]
    assert float(loss(*observed).detach()) == pytest.approx(-(locus + 0.7 * np.array(share)).mean(), rel=1e-5)


@pytest.mark.parametrize("kind", CountLoss.KINDS)
def test_losses_prefer_the_truth_and_separate_their_terms(kind, observed):
    log_rate, _, sizes = observed
    counts = (log_rate.exp() * sizes * 50).round()
    truth = log_rate + np.log(50)
    for weight in (0.0, 1.0):
        loss = CountLoss(kind, weight)
        at_truth = float(loss(truth, counts, sizes).detach())
        assert at_truth < float(loss(truth + 0.3, counts, sizes))  # the level of loci counts whatever the weight
        means = [rate + sizes.log() for rate in (truth, truth.flip(1))]
        swapped = truth.flip(1) + means[0].logsumexp(1, True) - means[1].logsumexp(1, True)
        if kind == "mse":
            swapped = truth.flip(1)  # its level is the mean of logs, which keeps its size
        assert (float(loss(swapped, counts, sizes)) - at_truth > 0.01) == (weight > 0)


def clipnet_objective(toy, jitter=20, target=60, **changes):
    """CLIPNET on windows of 80 bp that move by up to ``jitter`` bp, with its network and profiles."""
    cohort = load_cohort(toy.counts, toy.haplotypes, 80 + 2 * jitter, target, snvs_only=True)
    options = replace(TINY, model="clipnet", target_width=target, max_shift=jitter, **changes)
    torch.manual_seed(0)
    network = Clipnet(width=80, profile_width=target, filters=(8, 8), channels=8, dilations=2)
    profiles = load_profiles(toy.counts, cohort, target + 2 * jitter)
    objective = ClipnetObjective(network, cohort, make_split(cohort, 0, 1), profiles, 80, options)
    objective.module.eval()
    return objective


@pytest.mark.parametrize(("turned", "moved"), [(False, 0), (True, 0), (False, -13), (True, 7)])
def test_clipnet_loss_is_the_published_one_of_windows_that_moved_with_their_profiles(toy, turned, moved):
    objective = clipnet_objective(toy)
    cohort, network = objective.cohort, objective.module.network
    dense = CountsStore.open(toy.counts).profiles(np.arange(60))  # [locus, library, strand, base]
    objective.flip = torch.full((objective.units,), turned)
    objective.shift = torch.full((objective.units,), moved)
    examples = torch.tensor([0, 1, 50, 333])
    got = float(objective.loss(objective.module, examples).detach())
    expected = []
    for sample in objective.data["train"][examples].tolist():
        locus, donor = divmod(sample, 12)
        pair = toy.sequences[locus, toy.index[locus, donor], 20 + moved : 100 + moved]
        mine = [name.split("_")[0] == cohort.donors[donor] for name in toy.libraries]
        track = (
            dense[locus, mine].sum(axis=0)[:, 30 + moved : 90 + moved] / cohort.sizes[donor] * objective.target_scale
        )
        if turned:
            pair, track = np.array([3, 2, 1, 0], np.uint8)[pair[:, ::-1]], track[::-1, ::-1]
        first, second = (torch.from_numpy(np.ascontiguousarray(one))[None] for one in pair)
        profile, quantity = network(Clipnet.encode(first, second))
        observed = torch.tensor(np.ascontiguousarray(track)).double().flatten()
        cosine = torch.nn.functional.cosine_similarity(profile[0].double(), observed, dim=0)
        expected.append(float((torch.log1p(quantity[0]) - torch.log1p(observed.sum())) ** 2 / 500 - cosine))
    assert got == pytest.approx(np.mean(expected), abs=1e-5)


def test_an_epoch_of_clipnet_is_every_window_of_every_donor_in_both_orientations(toy):
    objective = clipnet_objective(toy)
    loci, donors = len(objective.split.train_loci), 12
    assert objective.examples == 2 * loci * donors
    objective.begin_epoch(0, torch.Generator().manual_seed(0))
    samples = objective.data["train"]
    for orientation in (False, True):
        assert sorted(samples[objective.flip == orientation].tolist()) == sorted(set(samples.tolist()))
    assert set(objective.loci(torch.arange(objective.examples)).tolist()) == set(objective.split.train_loci.tolist())
    assert (objective.shift.min(), objective.shift.max()) == (-20, 20)
    settings = objective.training_settings()
    assert (settings.epochs, settings.patience, settings.batch_size, settings.steps) == (200, 10, 256, None)
    assert (settings.max_lr, settings.epsilon, settings.clip, settings.weight_decay) == (0.001, 1e-7, None, 0)
    assert (settings.schedule, settings.warmup, settings.precision) == ("constant", 0, "fp32")


def test_clipnet_validation_loss_weighs_every_donor_alike_and_passes_a_diplotype_once(toy):
    objective = clipnet_objective(toy)
    parts = [float(objective.validation_loss(objective.module, torch.tensor([locus]))) for locus in (3, 11, 0)]
    assert float(objective.validation_loss(objective.module, torch.tensor([3, 11, 0]))) == pytest.approx(np.mean(parts))
    objective.flip, objective.shift = torch.zeros(objective.units, dtype=bool), torch.zeros(objective.units, dtype=int)
    locus = int(objective.split.train_loci[4])
    mine = torch.nonzero(objective.data["train"] // 12 == locus).flatten()
    as_trained = float(objective.loss(objective.module, mine).detach())
    assert float(objective.validation_loss(objective.module, torch.tensor([locus]))) == pytest.approx(as_trained)
    first, _, row = objective._diplotypes(torch.tensor([locus]))
    assert len(first) == len({tuple(sorted(pair)) for pair in objective.cohort.index[locus].tolist()})
    assert row.max() == len(first) - 1


def test_indels_do_not_reach_clipnet(tmp_path):
    """Haplotypes of a store with indels are those of a VCF that never had them, where two-hot would show false heterozygotes."""
    rng = random.Random(3)
    genome = {"chr1": random_dna(rng, 2000)}
    records = []
    for pos in range(20, 1980, 11):
        ref = genome["chr1"][pos - 1 : pos + 3 * (rng.random() < 0.2)]
        alt = rng.choice([base for base in "ACGT" if base != ref[0]]) if len(ref) == 1 else ref[0]
        alt = ref[0] + random_dna(rng, 3) if rng.random() < 0.2 and len(ref) == 1 else alt
        records.append(Record(pos, ref, alt, [f"{rng.randint(0, 1)}|{rng.randint(0, 1)}" for _ in range(5)]))
    windows = [("chr1", start, start + 300) for start in (200, 900, 1500)]
    donors = [f"d{n}" for n in range(5)]
    snvs = [record for record in records if len(record.ref) == len(record.alt) == 1]
    kept, without = (
        extract(SlowCohort(genome, chosen, donors, windows), tmp_path / name)
        for name, chosen in (("kept", records), ("without", snvs))
    )
    counts = np.ones((3, 5), int)
    write_counts(
        tmp_path / "counts",
        kept.windows.assign(fold=[0, 1, 2]),
        donors,
        donors,
        counts,
        counts[0],
        np.random.default_rng(0),
    )
    for store in (kept, without):
        (store.folder / "windows.bed").write_bytes((tmp_path / "counts" / "windows.bed").read_bytes())
        metadata = json.loads((store.folder / "metadata.json").read_text())
        metadata["checksums"]["windows.bed"] = sha256(store.folder / "windows.bed")
        metadata["sizes"]["windows.bed"] = (store.folder / "windows.bed").stat().st_size
        (store.folder / "metadata.json").write_text(json.dumps(metadata))
    cohorts = [
        load_cohort(tmp_path / "counts", store.folder, 200, 100, snvs_only=snvs_only)
        for store, snvs_only in ((kept, True), (without, False), (kept, False))
    ]
    own, expected, with_indels = (c.codes[c.offsets[:-1, None, None] + c.index] for c in cohorts)
    np.testing.assert_array_equal(own, expected)
    differing = [(pair[:, :, 0] != pair[:, :, 1]).sum() for pair in (own, with_indels)]
    assert differing[1] > 3 * differing[0]


def test_ridge_finds_weights_and_shrinks_noise():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 20))
    truth = np.where(np.arange(20) < 3, 2.0, 0.0)
    weight, intercept = ridge(features + 5, features @ truth + 1 + rng.normal(0, 0.1, 300))
    np.testing.assert_allclose(weight, truth, atol=0.05)
    assert (features + 5) @ weight + intercept == pytest.approx(features @ truth + 1, abs=0.2)
    noise, _ = ridge(features, rng.normal(size=300))
    assert np.abs(noise).max() < 0.15


# ------------------------------------------------------------------------------------------------------ fine-tuning


def test_legnet_learns_the_effect_from_people_and_its_controls_do_not(big_toy, tmp_path):
    made = {}
    for genotypes in ("personal", "reference", "shuffled"):
        options = replace(TINY, genotypes=genotypes, epochs=10, loss="nb")
        finetune(big_toy.counts, big_toy.haplotypes, tmp_path / genotypes, options, "cpu", None)
        made[genotypes] = load_model(tmp_path / genotypes)
    crop = np.ascontiguousarray(big_toy.sequences[::4, :, 10:110])  # the test chromosome
    predicted = made["personal"].predict_log2(crop.reshape(-1, 100)).reshape(-1, 4)
    effect = predicted[:, 1] - predicted[:, 0]
    truth = (big_toy.log_rate[::4, 1] - big_toy.log_rate[::4, 0]) / np.log(2)
    np.testing.assert_allclose(truth, -EFFECT / np.log(2))
    assert np.median(effect) == pytest.approx(-EFFECT / np.log(2), rel=0.25)
    assert np.abs(np.median(predicted[:, 2] - predicted[:, 0])) < 0.15  # the neutral SNV
    shuffled = made["shuffled"].predict_log2(crop.reshape(-1, 100)).reshape(-1, 4)
    assert np.abs(np.median(shuffled[:, 1] - shuffled[:, 0])) < 0.3 * EFFECT / np.log(2)
    config = made["personal"].config
    assert config["training"]["held_out_chromosomes"] == ["chr1"]
    assert config["training"]["test_donors"] and not (
        set(config["training"]["test_donors"]) & set(config["training"]["training_donors"])
    )
    assert config["target"]["kind"] == "log_rate"
    assert config["training"]["genotypes"] == "personal"


def test_differences_between_haplotypes_are_not_rounded_away(toy, tmp_path, monkeypatch):
    """Of training and validation alike; in bfloat16 the error was half as large as the differences themselves."""
    finetune(toy.counts, toy.haplotypes, tmp_path / "start", replace(TINY, epochs=3), "cpu", None)
    computed = DiploidLegNet.log_rate
    contrasts = {True: [], False: []}

    def recording(module, codes):
        values = computed(module, codes)
        with torch.autocast("cpu", enabled=False), torch.no_grad():
            exact = copy.deepcopy(module.network).double()(one_hot(codes, 0.25, torch.float64))
        alike = (codes[1:] != codes[:-1]).sum(1) <= 2  # haplotypes of one locus
        contrasts[module.network.training].append(
            torch.stack([values.detach().double().diff()[alike], exact.diff()[alike]])
        )
        return values

    monkeypatch.setattr(DiploidLegNet, "log_rate", recording)
    options = replace(TINY, epochs=1, init=tmp_path / "start", input_width=None)
    finetune(toy.counts, toy.haplotypes, tmp_path / "out", options, "cpu", None)
    for parts in contrasts.values():
        got, exact = torch.cat(parts, dim=1)
        assert len(exact) > 30
        assert (got - exact).std() < 1e-3 * exact.std()


def test_stored_network_predicts_what_was_validated(toy, tmp_path):
    finetune(toy.counts, toy.haplotypes, tmp_path / "m", replace(TINY, epochs=2), "cpu", None)
    model = load_model(tmp_path / "m")
    level = np.log(toy.library_counts.sum(axis=1).mean() / 14)
    predicted = model.predict_log2(np.ascontiguousarray(toy.sequences[:, 0, 10:110])) * np.log(2)
    assert predicted.mean() == pytest.approx(level, abs=1.0)  # log RPM, the offset folded into the head


@pytest.mark.parametrize(
    ("genotypes", "select", "metric"),
    [("personal", "contrasts", "between_loss"), ("personal", "loss", "loss"), ("reference", "contrasts", "loss")],
)
def test_what_chooses_the_epoch(toy, tmp_path, genotypes, select, metric):
    options = replace(TINY, genotypes=genotypes, select=select, epochs=4)
    finetune(toy.counts, toy.haplotypes, tmp_path / "m", options, "cpu", None)
    history = pd.read_csv(tmp_path / "m" / "history.tsv", sep="\t")
    best = json.loads((tmp_path / "m" / "model.json").read_text())["training"]["best_epoch"]
    assert best == history["epoch"][history[metric].argmin()]


def test_dispersions_do_not_decay_and_layers_of_a_start_are_pulled(toy):
    cohort = load_cohort(toy.counts, toy.haplotypes, 104, 120)
    split = make_split(cohort, 0, 1)
    options = replace(TINY, init=Path("start"), pull=3.0)
    *layers, dispersions = LegNetObjective(LegNet(**PRESETS["tiny"]), cohort, split, 100, options).parameter_groups(1)
    assert {(group["pull"], group["weight_decay"]) for group in layers} == {(3.0, 0.0)}
    assert dispersions["weight_decay"] == 0 and "pull" not in dispersions


def test_same_seed_same_weights_other_seed_other(toy, tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        finetune(toy.counts, toy.haplotypes, path, replace(TINY, epochs=1, seed=seed), "cpu", None)
    weights = [(path / "model.safetensors").read_bytes() for path in paths]
    assert weights[0] == weights[1] != weights[2]


def finetune_together(rank, port, toy, out, options):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    finetune(toy.counts, toy.haplotypes, out, options, "cpu", None)
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("loss", ["nb", "poisson"])
def test_two_processes_fine_tune_as_one(toy, tmp_path, monkeypatch, loss):
    monkeypatch.setattr(engine, "autocast_dtype", lambda device: None)  # sums of bfloat16 depend on their order
    finetune(toy.counts, toy.haplotypes, tmp_path / "start", replace(TINY, epochs=1), "cpu", None)
    options = replace(TINY, epochs=2, init=tmp_path / "start", input_width=None, loss=loss)
    finetune(toy.counts, toy.haplotypes, tmp_path / "one", options, "cpu", None)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = (port, toy, tmp_path / "two", options)
    torch.multiprocessing.start_processes(finetune_together, arguments, nprocs=2, start_method="fork")
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, expected in one.items():
        torch.testing.assert_close(two[name], expected, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: n + m)


def test_clipnet_trains_by_its_own_recipe_and_says_where_it_departs(toy, tmp_path, caplog):
    options = replace(TINY, model="clipnet", input_width=80, target_width=60, clipnet_epochs=3, clipnet_steps=2)
    finetune(toy.counts, toy.haplotypes, tmp_path / "clipnet", options, "cpu", None)
    config = load_model(tmp_path / "clipnet").config
    assert config["target"]["scale"] > 0
    assert config["hyperparameters"]["profile_width"] == 60
    training = config["training"]
    assert (training["epochs_trained"], training["ended_by"], training["max_shift"]) == (3, "epochs", 20)
    assert training["departures"] == [
        "preset tiny, published: published",
        "input_width 80, published: 1000",
        "target_width 60, published: 500",
        "clipnet_epochs 3, published: 200",
        "clipnet_steps 2, published: None",
        "clipnet_jitter 20, published: 250",
    ]
    assert "not trained as published" in caplog.text and "--flank 250" in caplog.text
    assert FinetuneSettings(model="clipnet").departures == []
    assert FinetuneSettings(epochs=3).departures == []


def test_fine_tuning_from_a_checkpoint_keeps_its_size(toy, tmp_path):
    finetune(toy.counts, toy.haplotypes, tmp_path / "first", replace(TINY, epochs=1), "cpu", None)
    second = replace(TINY, epochs=1, init=tmp_path / "first", preset="published", input_width=None)
    finetune(toy.counts, toy.haplotypes, tmp_path / "second", second, "cpu", None)
    first, again = (json.loads((tmp_path / name / "model.json").read_text()) for name in ("first", "second"))
    assert first["hyperparameters"] == again["hyperparameters"]
    assert again["width"] == 100
    assert again["training"]["init"] == str(tmp_path / "first")


# ----------------------------------------------------------------------------------------------------------- errors


def fails(toy, tmp_path, message, *, counts=None, haplotypes=None, **changes):
    with pytest.raises(DataError, match=message):
        finetune(
            counts or toy.counts, haplotypes or toy.haplotypes, tmp_path / "out", replace(TINY, **changes), "cpu", None
        )
    assert not (tmp_path / "out").exists()


def test_stores_of_different_windows(toy, tmp_path):
    other = make_toy(tmp_path / "other", loci=40)
    fails(toy, tmp_path, "come from different windows", haplotypes=other.haplotypes)


@pytest.mark.parametrize("file", ["counts/counts.npy", "haplotypes/sequences.npy", "haplotypes/index.npy"])
def test_a_store_that_was_changed_is_refused(toy, tmp_path, file):
    for store in ("counts", "haplotypes"):
        shutil.copytree(getattr(toy, store), tmp_path / store)
    if file.startswith("counts"):  # the toy's own store records no checksums of counts
        metadata = json.loads((tmp_path / "counts" / "metadata.json").read_text())
        metadata["checksums"] = {"counts.npy": sha256(tmp_path / file)}
        (tmp_path / "counts" / "metadata.json").write_text(json.dumps(metadata))
    content = bytearray((tmp_path / file).read_bytes())
    content[-1] ^= 1
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=file):
        finetune(tmp_path / "counts", tmp_path / "haplotypes", tmp_path / "out", TINY, "cpu", None)
    assert not (tmp_path / "out").exists()


def test_donors_without_haplotypes(toy, tmp_path):
    other = make_toy(tmp_path / "other", donors=14)
    fails(toy, tmp_path, r"no haplotypes for 2 of 14 donors .*D12, D13", counts=other.counts)


def test_haplotypes_of_more_donors_are_fine(toy, tmp_path):
    other = make_toy(tmp_path / "other", donors=14)
    finetune(toy.counts, other.haplotypes, tmp_path / "out", replace(TINY, epochs=1), "cpu", None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_fold": 9}, r"no window is in fold 9 \(--test-fold\); folds present: 0, 1, 2, 3"),
        ({"validation_fold": 9}, r"no window is in fold 9 \(--validation-fold\)"),
        ({"test_fold": 1}, "both --test-fold and --validation-fold"),
        ({"test_donors": ("X",)}, "test donor X"),
        ({"test_donors": tuple(f"D{i:02d}" for i in range(12))}, "every donor is held out"),
        ({"input_width": 300}, "windows are 120 bp"),
        ({"target_width": 300}, "narrower than --target-width 300"),
        ({"genotypes": "imputed"}, "--genotypes imputed is unknown"),
        ({"model": "enformer"}, "--model enformer is unknown"),
        ({"loss": "huber"}, "--loss huber is unknown"),
        ({"preset": "huge"}, "--preset huge is unknown"),
    ],
)
def test_wrong_choices_give_one_clear_line(toy, tmp_path, changes, message):
    fails(toy, tmp_path, message, **changes)


def test_checkpoint_of_another_architecture(toy, tmp_path):
    options = replace(TINY, model="clipnet", input_width=120, target_width=60, clipnet_epochs=1)
    finetune(toy.counts, toy.haplotypes, tmp_path / "clipnet", options, "cpu", None)
    fails(toy, tmp_path, "a clipnet checkpoint cannot start a legnet", init=tmp_path / "clipnet")
    fails(toy, tmp_path, "no such file", init=tmp_path / "nothing")


def test_constant_targets(tmp_path):
    flat = make_toy(tmp_path / "flat", depth=0.0)
    fails(flat, tmp_path, "the counts of all .* training loci are the same")


def test_command_line_reports_bad_data_in_one_line(toy, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        app(["--counts", str(toy.counts), "--haplotypes", str(Path("nowhere")), "--out", str(tmp_path / "x")])
    assert stopped.value.code == 1
    assert capsys.readouterr().err.strip().count("\n") == 0


# ------------------------------------------------------------------------------------------ devices and interruptions


def test_continuing_after_a_stop_gives_the_same_model(toy, tmp_path, monkeypatch):
    options = replace(TINY, epochs=4)
    finetune(toy.counts, toy.haplotypes, tmp_path / "straight", options, "cpu", None)
    validate, calls = LegNetObjective.validate, []

    def stops_at_third(self, module):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return validate(self, module)

    with monkeypatch.context() as patch:
        patch.setattr(LegNetObjective, "validate", stops_at_third)
        with pytest.raises(KeyboardInterrupt):
            finetune(toy.counts, toy.haplotypes, tmp_path / "stopped", options, "cpu", tmp_path / "state")
    assert not (tmp_path / "stopped").exists()
    finetune(toy.counts, toy.haplotypes, tmp_path / "stopped", options, "cpu", tmp_path / "state")
    straight, stopped = (load_file(tmp_path / name / "model.safetensors") for name in ("straight", "stopped"))
    assert straight.keys() == stopped.keys()
    for name, tensor in straight.items():
        assert torch.equal(tensor, stopped[name]), name


@pytest.mark.parametrize("model", ["legnet", "clipnet"])
def test_forward_pass_and_loss_on_a_pretended_gpu(toy, model):
    """Every tensor is where it belongs: torch's fake tensors refuse to mix devices, without a GPU at hand."""
    cohort = load_cohort(toy.counts, toy.haplotypes, 120, 60)
    split = make_split(cohort, 0, 1)
    options = replace(TINY, model=model, max_shift=0)
    if model == "clipnet":
        objective = clipnet_objective(toy)
    else:
        objective = LegNetObjective(LegNet(**PRESETS["tiny"]), cohort, split, 120, options)
    received = []
    objective.loss(lambda *tensors: received.extend(tensors) or torch.zeros(()), torch.arange(8))
    with FakeTensorMode(allow_non_fake_inputs=True):
        module = objective.module.to("cuda")
        with torch.autocast("cuda", torch.bfloat16):
            loss = module(*(torch.empty_like(tensor, device="cuda") for tensor in received))
        assert loss.device.type == "cuda"
        assert loss.shape == ()
        assert loss.dtype == torch.float32
