"""Networks of several cell lines: trained together, read as one of them or as their mean, stored in half precision."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from allelegro.errors import DataError
from allelegro.io.dna import decode, encode
from allelegro.io.tables import write_table
from allelegro.models.checkpoint import load_model, load_module, save_model
from allelegro.models.ensemble import members
from allelegro.models.legnet import PRESETS, LegNet
from allelegro.models.outputs import Outputs
from allelegro.training.pretrain import MpraObjective, outputs_of
from allelegro.training.settings import LEFT_ADAPTOR, RIGHT_ADAPTOR, Augmentation
from helpers.tools import run

MOTIFS = {"HepG2": "TGACTCATGACTCA", "K562": "GGGGCGGGGCGTAC"}
CELLS = Outputs(("HepG2", "K562", "WTC11"), (-1.0, 0.5, 2.0), (0.5, 1.0, 2.0))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def cell_lines(n: int = 480, insert: int = 40) -> pd.DataFrame:
    """Constructs of which half carry a motif of HepG2 and another half one of K562; a quarter was not measured in K562."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (n, insert), np.uint8)
    table = pd.DataFrame({"seq_id": [f"element{row}" for row in range(n)]})
    for place, (cells, motif) in enumerate(MOTIFS.items()):
        present = np.arange(n) // (place + 1) % 2 == 0
        codes[present, 4 + 18 * place : 18 + 18 * place] = encode(motif)
        table[cells] = 3.0 * place + 2.0 * (place + 1) * present + rng.normal(0, 0.2, n)
    table.loc[np.arange(n) % 4 == 3, "K562"] = np.nan
    table["seq"] = [LEFT_ADAPTOR + decode(row) + RIGHT_ADAPTOR for row in codes]
    return table.assign(fold_num=np.arange(n) // 4 % 10 + 1, rev=0, group=np.arange(n))


def checkpoint(folder: Path, outputs: Outputs = CELLS, half: bool = False, seed: int = 0) -> tuple[LegNet, Path]:
    torch.manual_seed(seed)
    network = LegNet(**PRESETS["tiny"], outputs=len(outputs.names)).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0.0, 2 * parameter[0].numel() ** -0.5)
    config = {
        "architecture": "legnet", "hyperparameters": {**PRESETS["tiny"], "outputs": len(outputs.names)}, "width": 60,
        "context": None, "training": {"seed": seed}, **outputs.config(),
    }  # fmt: skip
    save_model(folder, network, config, pd.DataFrame({"epoch": [1]}), half)
    return network, folder


def codes_of(n: int = 20) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 4, (n, 60), np.uint8)


@torch.inference_mode()
def by_hand(network: LegNet, codes: np.ndarray) -> np.ndarray:
    """log2 activity ``[n, outputs]`` of both strands."""
    strands = [codes, 3 - codes[:, ::-1]]
    raw = np.mean([network(LegNet.encode(torch.tensor(strand.copy()))).numpy() for strand in strands], axis=0)
    return np.asarray(raw * CELLS.sd + CELLS.mean)


def test_an_output_and_the_mean_of_outputs_are_networks_of_one(tmp_path: Path) -> None:
    network, folder = checkpoint(tmp_path / "m")
    expected = by_hand(network, codes_of())
    for place, name in enumerate(CELLS.names):
        model = load_model(folder, outputs=[name])
        np.testing.assert_allclose(model.predict_log2(codes_of()), expected[:, place], rtol=1e-4, atol=1e-5)
        assert model.config["target"]["outputs"] == [name]
    np.testing.assert_allclose(load_model(folder).predict_log2(codes_of()), expected.mean(axis=1), rtol=1e-4, atol=1e-5)
    two = load_model(folder, outputs=["WTC11", "HepG2"]).predict_log2(codes_of())
    np.testing.assert_allclose(two, expected[:, [0, 2]].mean(axis=1), rtol=1e-4, atol=1e-5)


def test_a_network_read_from_several_outputs_can_be_stored_again(tmp_path: Path) -> None:
    _, folder = checkpoint(tmp_path / "m")
    module, config = load_module(folder)
    save_model(tmp_path / "one", module, config, pd.DataFrame({"epoch": [1]}))
    again = load_model(tmp_path / "one").predict_log2(codes_of())
    np.testing.assert_allclose(again, load_model(folder).predict_log2(codes_of()), rtol=1e-5)


def test_half_precision_on_disk_is_half_the_size_and_the_same_network(tmp_path: Path) -> None:
    _, whole = checkpoint(tmp_path / "whole")
    _, half = checkpoint(tmp_path / "half", half=True)
    assert (half / "model.safetensors").stat().st_size < 0.7 * (whole / "model.safetensors").stat().st_size
    module, _ = load_module(half)
    assert {x.dtype for x in module.parameters()} == {torch.float32}
    first, second = (load_model(folder).predict_log2(codes_of()) for folder in (whole, half))
    assert np.corrcoef(first, second)[0, 1] > 0.9999


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": "K562"}, "outputs 'K562' cannot be"),
        ({"outputs": ["K562", "K562", "HepG2"]}, "outputs .* cannot be"),
        ({"outputs": ["HepG2", "K562"]}, "no mean and SD for each of the outputs"),
        ({"target": {"kind": "log2_activity", "mean": [0, 0, 0], "sd": [1, 1, 0]}}, "no mean and SD"),
        ({"target": {"kind": "log2_activity", "mean": [0, 0, "x"], "sd": [1, 1, 1]}}, "no mean and SD"),
    ],
)
def test_outputs_that_cannot_be_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    _, folder = checkpoint(tmp_path / "m")
    document = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**document, **change}))
    with pytest.raises(DataError, match=message):
        load_model(folder)


def test_an_output_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    _, folder = checkpoint(tmp_path / "m")
    with pytest.raises(DataError, match="no output A549; its outputs are HepG2, K562, WTC11"):
        load_model(folder, outputs=["A549"])
    module, config = load_module(folder)
    save_model(tmp_path / "one", module, config, pd.DataFrame({"epoch": [1]}))
    with pytest.raises(DataError, match="no output K562; it has a single one"):
        load_model(tmp_path / "one", outputs=["K562"])


def test_members_of_an_ensemble_have_the_same_outputs(tmp_path: Path) -> None:
    checkpoint(tmp_path / "m" / "seed1", seed=1)
    other = Outputs(("HepG2", "K562", "A549"), CELLS.mean, CELLS.sd)
    checkpoint(tmp_path / "m" / "seed2", outputs=other, seed=2)
    with pytest.raises(DataError, match="they differ in outputs"):
        members([tmp_path / "m"])


def test_what_was_not_measured_does_not_count() -> None:
    table = cell_lines(48)
    losses, gradients = [], []
    outputs = outputs_of(table)
    assert outputs is not None
    known = torch.from_numpy(table[list(MOTIFS)].notna().to_numpy())
    for gaps in (True, False):  # the loss of the objective, and the mean over what is known by hand
        torch.manual_seed(0)
        network = LegNet(**PRESETS["tiny"], outputs=2).train()
        objective = MpraObjective(network, table, table, Augmentation(after=0), outputs)
        assert objective.gaps
        if gaps:
            loss = objective.loss(network, torch.arange(48))
        else:
            predicted = network(LegNet.encode(objective.constructs[torch.arange(48)]))
            loss = (predicted[known] - objective.activity[known]).square().mean()
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-6)


def test_several_activities_are_learnt_together_from_a_table_to_scores(tmp_path: Path) -> None:
    """pretrain_legnet.py on a table with two activities; each output follows its own motif, on its own scale."""
    write_table(cell_lines(), tmp_path / "table.tsv")
    options = (
        "--preset tiny --epochs 12 --batch-size 64 --max-lr 0.05 --test-fold 1 --validation-fold 2 --shift-after 0"
    )
    done = run(tmp_path, "pretrain_legnet", ["--table", "table.tsv", "--out", "model", *options.split()])
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "model" / "model.json").read_text())
    assert document["outputs"] == list(MOTIFS)
    train = cell_lines()[lambda table: table["fold_num"] > 2]
    assert document["target"]["mean"] == pytest.approx([train[name].mean() for name in MOTIFS])
    assert document["target"]["sd"] == pytest.approx([train[name].std() for name in MOTIFS])
    metrics = document["metrics"]
    assert metrics["test_pearson_HepG2"] > 0.8 and metrics["test_pearson_K562"] > 0.8
    assert metrics["test_pearson"] == pytest.approx((metrics["test_pearson_HepG2"] + metrics["test_pearson_K562"]) / 2)
    test = cell_lines()[lambda table: table["fold_num"] == 1]
    codes = np.stack([encode(seq) for seq in test["seq"]])
    for name in MOTIFS:
        predicted, measured = load_model(tmp_path / "model", outputs=[name]).predict_log2(codes), test[name].to_numpy()
        assert np.nanmean(np.abs(predicted - measured)) < 0.5 * np.nanstd(measured), name
