"""Checkpoint folders: what is saved is what is loaded, and every broken folder is named in one line."""

import contextlib
import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save
from torch import nn

from allelegro.errors import DataError
from allelegro.io.checksums import sha256
from allelegro.io.dna import encode, reverse_complement
from allelegro.models.checkpoint import QUANTITY_PSEUDOCOUNT, load_model, save_model
from allelegro.models.clipnet import PRESETS as CLIPNET_PRESETS
from allelegro.models.clipnet import Clipnet
from allelegro.models.ensemble import members
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
    expected = torch.log2(sum(quantities) / 2 + QUANTITY_PSEUDOCOUNT)  # a silent strand must not weigh ten log2 units
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


def change_weights(folder: Path, value: float, record: bool) -> None:
    """Set one weight; with ``record`` model.json knows the new file."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    weights["head.1.bias"][0] = value
    file.write_bytes(save(weights))
    if record:
        edit(folder, checksums={"model.safetensors": sha256(file)})


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
        (lambda f: (f / "model.json").write_text("[" * 100_000), "model.json: not valid JSON"),
        (lambda f: (f / "model.json").write_bytes(b"\xff{}"), "model.json: not valid JSON"),
        (lambda f: (f / "model.json").write_text("[1]"), "not an Allelegro checkpoint"),
        (
            lambda f: edit(f, hyperparameters={"stem_channels": 100_000}),
            "model.json: hyperparameter stem_channels: 100000",
        ),
        (
            lambda f: edit(f, hyperparameters={"channels": [10_000] * 4, "kernel": 9}),
            "model.json: a legnet of .* parameters",
        ),
        (lambda f: edit(f, hyperparameters={"kernel": "nine"}), "hyperparameter kernel: nine"),
        (lambda f: edit(f, hyperparameters={"stem_kernel": -1}), "hyperparameter stem_kernel: -1"),
        (lambda f: edit(f, architecture="clipnet", hyperparameters={"dilations": 1000}), "hyperparameter dilations"),
        (lambda f: edit(f, hyperparameters=7), "hyperparameters '7' cannot be"),
        (lambda f: edit(f, width=2**40), "width '1099511627776' cannot be"),
        (lambda f: edit(f, target={"kind": "counts"}), "target .* cannot be"),
        (lambda f: edit(f, context={"left": "ACG"}), "context .* cannot be"),
        (lambda f: change_weights(f, 0.5, record=False), "not the weights that model.json was written with"),
        (lambda f: change_weights(f, math.nan, record=True), "head.1.bias holds numbers that are not finite"),
        (lambda f: change_weights(f, math.inf, record=True), "head.1.bias holds numbers that are not finite"),
    ],
)
def test_damage_is_named(saved: Path, damage: object, message: str) -> None:
    damage(saved)  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        load_model(saved)


@pytest.mark.parametrize("file", ["model.json", "model.safetensors"])
def test_damaged_bytes_load_or_are_named(saved: Path, file: str) -> None:
    """200 random changes (fixed seed): nothing but DataError comes out."""
    rng, whole = np.random.default_rng(0), (saved / file).read_bytes()
    loaded = 0
    for _ in range(200):
        content, at = bytearray(whole), int(rng.integers(min(len(whole), 3000)))
        change = rng.integers(3)
        if change == 0:
            content[at] = int(rng.integers(256))
        elif change == 1:
            content[at:at] = bytes(rng.integers(0, 256, int(rng.integers(1, 20))).astype(np.uint8))
        else:
            del content[at:]
        (saved / file).write_bytes(content)
        with contextlib.suppress(DataError):
            load_model(saved)
            loaded += 1
    assert loaded < 100


@pytest.mark.parametrize("value", [None, True, -1, 10**9, 1e300, "x", [], {}, [1, [2]], {"a": 1}, math.nan])
def test_odd_entries_load_or_are_named(saved: Path, value: object) -> None:
    document = json.loads((saved / "model.json").read_text())
    for key in document:
        (saved / "model.json").write_text(json.dumps({**document, key: value}))
        with contextlib.suppress(DataError):
            load_model(saved)
    for key in document["hyperparameters"]:
        edit(saved, **{**document, "hyperparameters": {**document["hyperparameters"], key: value}})
        with pytest.raises(DataError, match=r"model\.(json|safetensors): "):
            load_model(saved)


def test_checkpoints_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        folder = save_member(tmp_path / "model")
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o664}


# -------------------------------------------------------------------------------------------------------- ensembles


TRAINING = {
    "genotypes": "personal", "init": "pretrained/cell1-seed1", "test_fold": 0, "validation_fold": 1, "seed": 1,
    "epochs": 20, "test_donors": ["b"], "training_donors": ["a"], "data_checksums": {"counts.npy": "c0ffee"},
}  # fmt: skip


def save_member(folder: Path, *, width: int = 60, **training: object) -> Path:
    config = config_of("legnet", dict(PRESETS["tiny"]), width, "log_rate") | {"training": {**TRAINING, **training}}
    save_model(folder, LegNet(**PRESETS["tiny"]), config, HISTORY)
    return folder


def test_members_of_a_checkpoint_a_folder_and_a_folder_of_folders(tmp_path: Path) -> None:
    first = save_member(tmp_path / "legnet" / "fold0-seed1")
    second = save_member(tmp_path / "legnet" / "fold1-seed1", test_fold=1, validation_fold=2, init="pretrained/other")
    (tmp_path / "legnet" / ".partial-1-fold2").mkdir()
    (tmp_path / "legnet" / "notes.txt").write_text("")
    assert members([first]) == [first]
    assert members([tmp_path / "legnet"]) == [first, second]
    assert members([tmp_path]) == [first, second]
    assert members([second, tmp_path / "legnet"]) == [second, first, second]


def test_a_folder_without_checkpoints_is_named(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    save_member(tmp_path / "a" / "b" / "c" / "too_deep")
    with pytest.raises(DataError, match=f"{tmp_path}: holds no checkpoint"):
        members([tmp_path])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data_checksums": {"counts.npy": "deca"}}, r"training data \(counts.npy\)"),
        ({"epochs": 30}, r"epochs \(20, 30\)"),
        ({"genotypes": "reference"}, r"genotypes \(personal, reference\)"),
        ({"test_donors": ["a"]}, "held-out donors"),
        ({"init": None}, r"init \(pretrained, None\)"),
        ({"width": 120}, r"width \(60, 120\)"),
        ({"seed": 1}, "same fold and seed"),
    ],
)
def test_checkpoints_of_another_run_are_no_ensemble(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    save_member(tmp_path / "one")
    save_member(tmp_path / "two", **({"seed": 2} | changed))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message) as caught:
        members([tmp_path])
    assert f"{tmp_path}/two" in str(caught.value)
