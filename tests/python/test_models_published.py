"""human_legnet's checkpoints: a model written with its names and layers predicts the same after reading."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from allelegro.errors import DataError
from allelegro.models.checkpoint import load_model, load_module

# Their order of input channels.
CODES = {0: 0, 1: 2, 2: 1, 3: 3}  # our A C G T to the channel of A G C T


class Wrapped(nn.Module):
    """A module kept under one attribute, as their blocks are."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class Excite(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean(2)).unsqueeze(2)


class Block(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class Concatenate(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.fn(x), x], dim=1)


class TheirLegNet(nn.Module):
    """The published module tree in small."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()

        def local(inside: int, outside: int, kernel: int, groups: int = 1) -> list[nn.Module]:
            convolution = nn.Conv1d(inside, outside, kernel, padding="same", groups=groups, bias=False)
            return [convolution, nn.BatchNorm1d(outside), nn.SiLU()]

        self.stem = Block(block=nn.Sequential(*local(channels, 6, 5)))
        stages = []
        for inside, outside in ((6, 8), (8, 10)):
            inner = 2 * inside
            gate = nn.Sequential(nn.Linear(inner, inner // 2), nn.SiLU(), nn.Linear(inner // 2, inner), nn.Sigmoid())
            layers = [
                *local(inside, inner, 1),
                *local(inner, inner, 3, inner),
                Excite(fc=gate),
                *local(inner, inside, 1),
            ]
            inverted = Concatenate(fn=Block(block=nn.Sequential(*layers)))
            after = Block(block=nn.Sequential(*local(2 * inside, outside, 3)))
            stages.append(nn.Sequential(inverted, after, nn.MaxPool1d(2)))
        self.main = nn.Sequential(*stages)
        self.mapper = Block(block=nn.Sequential(nn.BatchNorm1d(10), nn.Conv1d(10, 20, 1)))
        self.head = nn.Sequential(nn.Linear(20, 20), nn.BatchNorm1d(20), nn.SiLU(), nn.Linear(20, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mapper(self.main(self.stem(x))).mean(2)).squeeze(1)


def their_checkpoint(path: Path, channels: int = 4) -> TheirLegNet:
    torch.manual_seed(3)
    model = TheirLegNet(channels).eval()
    for tensor in [*model.parameters(), *(buffer for name, buffer in model.named_buffers() if "running" in name)]:
        tensor.data.uniform_(0.1, 0.6)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 24, "state_dict": weights, "optimizer_states": [], "lr_schedulers": []}, path)
    return model


def test_a_published_checkpoint_predicts_as_published(tmp_path: Path) -> None:
    path = tmp_path / "model_7_3" / "last_model-epoch=24.ckpt"
    theirs = their_checkpoint(path)
    ours, config = load_module(path)
    codes = np.random.default_rng(0).integers(0, 4, (5, 230), np.uint8)
    encoded = torch.zeros(5, 4, 230)
    for ours_code, their_channel in CODES.items():
        encoded[:, their_channel] = torch.from_numpy(codes == ours_code).float()
    with torch.no_grad():
        expected = theirs(encoded)
        got = ours.eval()(type(ours).encode(torch.from_numpy(codes)))  # type: ignore[attr-defined]
    torch.testing.assert_close(got, expected)
    assert config["training"]["validation_fold"] == 7
    assert config["training"]["test_fold"] == 3
    assert config["hyperparameters"]["channels"] == [8, 10]
    model = load_model(path)
    assert (model.width, model.insert_width) == (230, 200)
    assert model.predict_log2(codes).shape == (5,)


def test_the_orientation_channel_is_refused(tmp_path: Path) -> None:
    their_checkpoint(tmp_path / "five.ckpt", channels=5)
    with pytest.raises(DataError, match="orientation channel"):
        load_module(tmp_path / "five.ckpt")


def test_other_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_module(tmp_path / "absent.ckpt")
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(DataError, match="not a human_legnet checkpoint"):
        load_module(tmp_path / "other.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(DataError, match="not a human_legnet checkpoint"):
        load_module(tmp_path / "text.ckpt")
    torch.save({"state_dict": {}, "config": Path("x")}, tmp_path / "code.ckpt")
    with pytest.raises(DataError, match="not a human_legnet checkpoint"):
        load_module(tmp_path / "code.ckpt")
