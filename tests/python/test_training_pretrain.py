"""Pretraining: augmentation as published, roles of folds, and a motif that is learnt from a table to a checkpoint."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from allelegro.cli.pretrain_legnet import app
from allelegro.errors import DataError
from allelegro.io.dna import decode, encode, reverse_complement
from allelegro.io.tables import write_table
from allelegro.io.windows import write_windows
from allelegro.models.checkpoint import LoadedModel, load_model
from allelegro.models.legnet import PRESETS, LegNet
from allelegro.training.augment import LEFT_FLANK, RIGHT_FLANK, Constructs
from allelegro.training.pretrain import MpraObjective, pretrain, split
from allelegro.training.settings import (
    LEFT_ADAPTOR,
    RIGHT_ADAPTOR,
    Augmentation,
    PretrainSettings,
    TrainingSettings,
)

MOTIF = "TGACTCATGACTCA"
SETTINGS = TrainingSettings(epochs=6, batch_size=64, max_lr=0.05)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def motif_table(n: int = 640, insert: int = 40) -> pd.DataFrame:
    """Constructs of which half carry a motif on either strand that raises their activity by 2."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (n, insert), np.uint8)
    motif, present = encode(MOTIF), np.arange(n) % 2 == 0
    for row in np.flatnonzero(present):
        start = rng.integers(0, insert - len(motif))
        codes[row, start : start + len(motif)] = motif if rng.random() < 0.5 else reverse_complement(motif)
    return pd.DataFrame(
        {
            "seq_id": [f"element{row}" for row in range(n)],
            "seq": [LEFT_ADAPTOR + decode(row) + RIGHT_ADAPTOR for row in codes],
            "mean_value": 2.0 * present + rng.normal(0, 0.2, n),
            "fold_num": np.arange(n) // 2 % 10 + 1,
            "rev": 0,
            "group": np.arange(n),
            "chrom": [f"chr{row % 5 + 1}" for row in range(n)],
            "start": np.arange(n) * 1000,
            "end": np.arange(n) * 1000 + insert,
        }
    )


def test_shifts_read_the_vector_as_published() -> None:
    width = len(LEFT_ADAPTOR) + 40 + len(RIGHT_ADAPTOR)
    construct = motif_table(2)["seq"].iloc[0]
    constructs = Constructs(np.stack([encode(construct)] * 300), Augmentation(before=3, after=21))
    assert decode(constructs[torch.tensor([0])][0].numpy()) == construct  # nothing drawn yet
    constructs.draw(torch.Generator().manual_seed(1))
    read = constructs[torch.arange(300)].numpy()
    vector = LEFT_FLANK + construct + RIGHT_FLANK
    expected = {vector[len(LEFT_FLANK) + shift :][:width]: shift for shift in range(-3, 22)}
    strands = [(decode(row), decode(reverse_complement(row))) for row in read]
    seen = [(expected.get(forward, expected.get(reverse)), forward in expected) for forward, reverse in strands]
    assert {shift for shift, _ in seen} == set(range(-3, 22))
    assert 0.35 < np.mean([forward for _, forward in seen]) < 0.65


def test_changed_bases_are_as_many_as_asked_and_new_in_every_epoch() -> None:
    codes = np.zeros((200, 70), np.uint8)
    constructs = Constructs(codes, Augmentation(after=0, mutation=0.2))
    epochs = []
    for seed in (1, 2):
        constructs.draw(torch.Generator().manual_seed(seed))
        constructs.reversed[:] = False
        epochs.append(constructs[torch.arange(200)])
    assert 0.13 < (epochs[0] != 0).float().mean() < 0.17  # a quarter of the bases drawn are what was there
    assert not torch.equal(*epochs)
    assert (constructs.vector == torch.from_numpy(codes)).all()


def test_shifts_beyond_the_vector_are_refused() -> None:
    with pytest.raises(ValueError, match="within 21 bp"):
        Constructs(np.zeros((2, 70), np.uint8), Augmentation(before=22))


def test_roles_of_rows() -> None:
    table = motif_table(200)
    windows = pd.DataFrame({"chrom": ["chr1"], "start": [0], "end": [50_500]})
    parts = split(table, PretrainSettings(3, 4, held_out_chromosome=("chr2",)), windows, Path("t.tsv"))
    assert set(parts.test["fold_num"]) == {3}
    assert len(parts.test) == 20  # held-out chromosomes stay in the test fold
    assert set(parts.validation["fold_num"]) == {4}
    assert set(parts.train["fold_num"]) == {1, 2, 5, 6, 7, 8, 9, 10}
    for part in (parts.train, parts.validation):
        assert "chr2" not in set(part["chrom"])
        assert not ((part["chrom"] == "chr1") & (part["start"] < 50_500)).any()
    without_test = split(table, PretrainSettings(None, 4), None, Path("t.tsv"))
    assert (len(without_test.train), len(without_test.test)) == (180, 0)


@pytest.mark.parametrize(
    ("settings", "change", "message"),
    [
        (PretrainSettings(3, 3), {}, "both 3"),
        (PretrainSettings(30, 4), {}, "no rows in test fold 30; folds are"),
        (PretrainSettings(3, 4), {"mean_value": 1.0}, "mean_value is 1.0 in every training row"),
        (
            PretrainSettings(3, 4, held_out_chromosome=("chr1", "chr2", "chr3", "chr4", "chr5")),
            {},
            "0 rows left for training",
        ),
        (PretrainSettings(3, 4, held_out_chromosome=("chrUn",)), {}, "no chromosome in common"),
    ],
)
def test_wrong_splits_are_named(settings: PretrainSettings, change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(motif_table(200).assign(**change), settings, None, Path("t.tsv"))


def test_a_motif_is_learnt_on_both_strands(tmp_path: Path) -> None:
    write_table(motif_table(), tmp_path / "mpra.tsv")
    windows = pd.DataFrame({"chrom": ["chr1"], "start": [0], "end": [500], "name": ["w"], "score": [0]})
    write_windows(windows.assign(strand=".", fold=0), tmp_path / "windows.bed")
    arguments = [
        "--table",
        tmp_path / "mpra.tsv",
        "--out",
        tmp_path / "model",
        "--test-fold",
        1,
        "--validation-fold",
        2,
    ]
    arguments += ["--preset", "tiny", "--epochs", 6, "--batch-size", 64, "--max-lr", 0.05, "--device", "cpu"]
    arguments += ["--held-out-chromosome", "chr5", "--held-out-windows", tmp_path / "windows.bed"]
    with pytest.raises(SystemExit) as left:
        app(list(map(str, arguments)))
    assert left.value.code == 0
    model = load_model(tmp_path / "model")
    document = json.loads((tmp_path / "model" / "model.json").read_text())
    assert document["metrics"]["test_pearson"] > 0.8
    assert document["training"]["held_out_chromosomes"] == ["chr5"]
    assert document["training"]["held_out_regions"] == [["chr1", 0, 500]]
    assert document["context"] == {"left": LEFT_ADAPTOR, "right": RIGHT_ADAPTOR}
    background = encode("ACATAGTCCATAGTACCATTAGACATCAGTACATAGCATA")
    carrier = background.copy()
    carrier[10:24] = encode(MOTIF)
    without, forward, reverse = model.predict_log2(
        model.in_context(np.stack([background, carrier, reverse_complement(carrier)]))
    )
    assert forward - without > 1
    assert reverse - without > 1
    history = pd.read_csv(tmp_path / "model" / "history.tsv", sep="\t")
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert {"train_loss", "pearson"} <= set(history)


def test_a_sequence_without_activity_is_named(tmp_path: Path) -> None:
    table = motif_table(100).assign(mean_value=lambda t: t["mean_value"].astype(object))
    table.loc[7, "mean_value"] = "high"
    write_table(table, tmp_path / "mpra.tsv")
    with pytest.raises(DataError, match=r"row 8 \(line 9\), column mean_value: 'high' is not a number"):
        pretrain(tmp_path / "mpra.tsv", tmp_path / "out", PretrainSettings(1, 2, "tiny", epochs=6))
    assert not (tmp_path / "out").exists()


def test_the_fingerprint_is_of_data_and_weights() -> None:
    table = motif_table(60)

    def fingerprint(table: pd.DataFrame, seed: int) -> str:
        torch.manual_seed(seed)
        return MpraObjective(LegNet(**PRESETS["tiny"]), table, table, Augmentation()).fingerprint()

    assert fingerprint(table, 1) == fingerprint(table, 1)
    assert len({fingerprint(table, 1), fingerprint(table, 2), fingerprint(table[:59], 1)}) == 3


def test_training_and_scoring_stay_on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    table = motif_table(60)
    objective = MpraObjective(LegNet(**PRESETS["tiny"]), table, table, Augmentation())
    cuda = torch.device("cuda")
    with FakeTensorMode(allow_non_fake_inputs=True):
        with cuda:
            objective.module = LegNet(**PRESETS["tiny"])
        monkeypatch.setattr(objective.module, "to", lambda device: None)  # fake weights cannot be moved
        objective.to(cuda)
        objective.begin_epoch(0, torch.Generator())
        batch = torch.arange(16, device=cuda)
        loss = objective.loss(objective.module, batch)
        assert (loss.device.type, loss.shape) == ("cuda", ())
        model = LoadedModel({"target": {"kind": "log_rate"}}, objective.module, "m", cuda)
        assert model.log2(objective.constructs[batch]).device.type == "cuda"


def test_bfloat16_and_float32_learn_the_same() -> None:
    from allelegro.training.pretrain import Parts, train_legnet

    table = motif_table()
    parts = Parts(table[table["fold_num"] > 2], table[table["fold_num"] == 2], table[:0])
    rates = []
    for precision in ("auto", "fp32"):
        settings = replace(SETTINGS, precision=precision)
        rates.append(train_legnet(parts, PRESETS["tiny"], settings, device="cpu")[1].metrics["pearson"])  # type: ignore[arg-type]
    assert min(rates) > 0.8
