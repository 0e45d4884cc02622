"""Allelic reads in training: the likelihood finds bias and noise, and moves a model only by labels that are right."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from allelegro.training.cohort import for_donors, load_cohort, with_genotypes
from allelegro.training.finetune import finetune
from allelegro.training.losses import AllelicLoss
from allelegro.training.settings import FinetuneSettings
from helpers.toy_stores import make_toy, with_alleles


def test_bias_and_overdispersion_of_libraries_are_found() -> None:
    """Null sites with a preference for reference bases: without the offset their mean log ratio is not 0, with it it is."""
    rng = np.random.default_rng(3)
    loci, bias, concentration = 4000, np.array([0.3, -0.2]), 30.0
    reference = rng.choice([-1.0, 1.0], (loci, 2))
    share = 1 / (1 + np.exp(-bias * reference))
    chance = rng.beta(concentration * share, concentration * (1 - share))
    first = rng.binomial(40, chance)
    reads = torch.tensor(np.stack([first, 40 - first], axis=-1), dtype=torch.float32)
    loss = AllelicLoss(2)
    optimiser = torch.optim.Adam(loss.parameters(), lr=0.05)
    for _ in range(150):
        optimiser.zero_grad()
        value = loss(torch.zeros(loci, 2, 2), reads, torch.tensor(reference, dtype=torch.float32))
        torch.autograd.backward(value)
        optimiser.step()
    found = loss.bias.detach().numpy()
    error = np.sqrt((1 / 40 + 1 / concentration) * 4 / loci)
    assert (np.abs(bias) > 5 * error).all() and (np.abs(found - bias) < 3 * error).all()
    assert float(loss.log_concentration.detach().exp()) == pytest.approx(concentration, rel=0.15)


def test_the_likelihood_prefers_the_right_haplotype() -> None:
    loss, reads, none = AllelicLoss(1), torch.tensor([[[30.0, 10.0]]]), torch.zeros(1, 1)
    right, level, wrong = (float(loss(torch.tensor([[[delta, 0.0]]]), reads, none)) for delta in (1.1, 0.0, -1.1))
    assert right < level < wrong
    assert float(loss(torch.tensor([[[2.0, 2.0]]]), torch.zeros(1, 1, 2), none)) == 0


def test_reads_follow_their_donors(tmp_path: Path) -> None:
    toy = make_toy(tmp_path)
    assert load_cohort(toy.counts, toy.haplotypes, 120, 120).allelic is None
    with_alleles(toy, swapped=False)
    cohort = load_cohort(toy.counts, toy.haplotypes, 120, 120)
    assert cohort.allelic is not None and "allelic.npy" in cohort.checksums
    assert with_genotypes(cohort, "reference", 0).allelic is None
    chosen = np.array([5, 1])
    part = for_donors(cohort, chosen).allelic
    assert part is not None
    owner = [toy.donors.index(name.split("_")[0]) for name in toy.libraries]
    libraries = [number for number, donor in enumerate(owner) if donor in chosen]
    np.testing.assert_array_equal(part.counts, cohort.allelic.counts[:, libraries])
    assert part.donor.tolist() == [{5: 0, 1: 1}[owner[number]] for number in libraries]


def test_allelic_reads_teach_effects_and_swapped_labels_do_not(tmp_path: Path, one_thread: None) -> None:
    """Counts of donors say nothing here (drawn from the reference), so that all comes from the reads."""
    spread = {}
    for name in ("right", "swapped", "without"):
        toy = make_toy(tmp_path / name, loci=100, genetic=False, depth=0.05)
        with_alleles(toy, swapped=name == "swapped")
        settings = FinetuneSettings(
            preset="tiny", input_width=100, target_width=60, epochs=30, batch_loci=8, seed=1, max_shift=5, patience=30,
            allelic_weight=0.0 if name == "without" else 1.0,
        )  # fmt: skip
        finetune(toy.counts, toy.haplotypes, tmp_path / name / "model", settings, "cpu", None)
        from allelegro.models.checkpoint import load_model

        model = load_model(tmp_path / name / "model")
        codes = toy.sequences[:, :, 10:110]
        effect = (model.predict_log2(codes[:, 1]) - model.predict_log2(codes[:, 0])).astype(float)
        true = toy.log_rate[:, 1] - toy.log_rate[:, 0]
        spread[name] = (
            float(np.mean(effect[true < 0]) - np.mean(effect[true == 0]))
            if (true == 0).any()
            else float(np.mean(effect))
        )
        recorded = json.loads((tmp_path / name / "model" / "model.json").read_text())["training"]["allelic"]
        assert (recorded is None) == (name == "without")
    assert spread["right"] < -0.3
    assert abs(spread["swapped"]) < 0.5 * abs(spread["right"]) and abs(spread["without"]) < 0.5 * abs(spread["right"])
