"""Checkpoint folders: what is saved is what is loaded, and every broken folder is named in one line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from allelegro.errors import DataError
from allelegro.io.dna import encode, reverse_complement
from allelegro.models.checkpoint import QUANTITY_PSEUDOCOUNT, load_model, save_model
from allelegro.models.clipnet import PRESETS as CLIPNET_PRESETS
from allelegro.models.clipnet import Clipnet
from allelegro.models.legnet import PRESETS, LegNet

HISTORY = pd.DataFrame({"epoch": [1, 2], "train_loss": [2.0, 1.0]})


def config_of(architecture: str, hyperparameters: dict[str, object], width: int, kind: str) -> dict[str, object]:
    return {
        "architecture": architecture,
        "hyperparameters": hyperparameters,
        "width": width,
        "target": {"kind": kind},
        "context": None,
        "training": {"seed": 1},
        "metrics": {"pearson": 0.5},
    }


def random_codes(n: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 5, (n, width), np.uint8)


def shake(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0.05, 0.2)
    return module


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    module = shake(LegNet(**PRESETS["tiny"]))
    save_model(tmp_path / "model", module, config_of("legnet", dict(PRESETS["tiny"]), 60, "log2_activity"), HISTORY)
    return tmp_path / "model"


def test_prediction_is_the_mean_of_both_strands(saved: Path) -> None:
    model = load_model(saved)
    codes = random_codes(7, 60)
    got = model.predict_log2(codes, batch_size=3)
    with torch.no_grad():
        forward, reverse = (
            model.module(LegNet.encode(torch.from_numpy(strand.copy())))
            for strand in (codes, reverse_complement(codes))
        )
    np.testing.assert_allclose(got, ((forward + reverse) / 2).numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict_log2(reverse_complement(codes)), got, rtol=1e-4, atol=1e-5)
    assert model.name == "model"
    assert model.config["software"]["torch"] == torch.__version__


def test_log_rate_is_given_in_log2(tmp_path: Path) -> None:
    module = shake(LegNet(**PRESETS["tiny"]))
    codes = random_codes(4, 60)
    for kind in ("log2_activity", "log_rate"):
        save_model(tmp_path / kind, module, config_of("legnet", dict(PRESETS["tiny"]), 60, kind), HISTORY)
    activity, rate = (load_model(tmp_path / kind).predict_log2(codes) for kind in ("log2_activity", "log_rate"))
    np.testing.assert_allclose(rate * np.log(2), activity, rtol=1e-5)


def test_clipnet_predicts_log2_of_its_quantity(tmp_path: Path) -> None:
    hyperparameters = {"width": 120, **CLIPNET_PRESETS["tiny"]}
    module = shake(Clipnet(**hyperparameters))
    save_model(tmp_path / "c", module, config_of("clipnet", hyperparameters, 120, "log_rate"), HISTORY)
    model = load_model(tmp_path / "c")
    codes = random_codes(5, 120)
    strands = [torch.from_numpy(strand.copy()) for strand in (codes, reverse_complement(codes))]
    with torch.no_grad():
        quantities = [model.module(Clipnet.encode(strand, strand))[1] for strand in strands]
    expected = sum(torch.log2(quantity + QUANTITY_PSEUDOCOUNT) for quantity in quantities) / 2
    np.testing.assert_allclose(model.predict_log2(codes), expected.numpy(), rtol=1e-4)


def test_construct_context_surrounds_the_insert(saved: Path) -> None:
    document = json.loads((saved / "model.json").read_text())
    document["context"] = {"left": "ACG", "right": "TTGCA"}
    (saved / "model.json").write_text(json.dumps(document))
    model = load_model(saved)
    assert model.insert_width == 52
    inside = random_codes(2, 52)
    full = model.in_context(inside)
    assert full.shape == (2, 60)
    assert full[1].tolist() == [*encode("ACG"), *inside[1], *encode("TTGCA")]


def test_wrong_width_is_refused(saved: Path) -> None:
    with pytest.raises(ValueError, match="60 bp"):
        load_model(saved).predict_log2(random_codes(2, 61))


def break_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def edit(folder: Path, **changes: object) -> None:
    document = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**document, **changes}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model.json").unlink(), "model.json: no such file"),
        (lambda f: (f / "model.json").write_text('{"a": '), "not valid JSON"),
        (lambda f: (f / "model.json").write_text("{}"), "not an Allelegro checkpoint"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors: no such file"),
        (break_weights, "truncated"),
        (lambda f: edit(f, architecture="enformer"), "'enformer' is unknown"),
        (lambda f: edit(f, architecture="clipnet"), "hyperparameters do not fit clipnet"),
        (lambda f: edit(f, hyperparameters={}), "weights do not fit the legnet"),
    ],
)
def test_damage_is_named(saved: Path, damage: object, message: str) -> None:
    damage(saved)  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        load_model(saved)
