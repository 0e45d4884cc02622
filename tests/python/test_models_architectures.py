"""Sizes, shapes and symmetries of the architectures, against published numbers and layers written plainly."""

import numpy as np
import pytest
import torch
from torch import nn

from allelegro.models.clipnet import PRESETS as CLIPNET_PRESETS
from allelegro.models.clipnet import Clipnet, reverse_profile
from allelegro.models.encoding import one_hot, reverse_complement, two_hot
from allelegro.models.legnet import PRESETS, LegNet


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("preset", "expected"), [("published", 1_322_465), ("compact", 857_825)])
def test_legnet_has_the_published_size(preset: str, expected: int) -> None:
    assert parameters(LegNet(**PRESETS[preset])) == expected


def test_clipnet_has_the_published_size() -> None:
    model = Clipnet()
    statistics = sum(buffer.numel() for name, buffer in model.named_buffers() if "running" in name)
    assert parameters(model) == 8_032_195
    assert parameters(model) + statistics == 8_036_893


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("width", [130, 230, 231])
def test_legnet_takes_any_width(preset: str, width: int) -> None:
    assert LegNet(**PRESETS[preset])(torch.rand(3, 4, width)).shape == (3,)


@pytest.mark.parametrize("preset", ["small", "tiny"])
def test_clipnet_shapes(preset: str) -> None:
    profile, quantity = Clipnet(width=600, profile_width=200, **CLIPNET_PRESETS[preset])(torch.rand(2, 4, 600))
    assert profile.shape == (2, 400)
    assert quantity.shape == (2,)
    assert profile.min() >= 0 and quantity.min() >= 0


def test_clipnet_keeps_its_quantity_in_single_precision() -> None:
    network = Clipnet(width=600, profile_width=200, **CLIPNET_PRESETS["tiny"])
    with torch.autocast("cpu", torch.bfloat16):
        profile, quantity = network(torch.rand(4, 4, 600))
    assert (profile.dtype, quantity.dtype) == (torch.bfloat16, torch.float32)


def test_clipnet_refuses_another_width() -> None:
    with pytest.raises(ValueError, match="made for 600 bp"):
        Clipnet(width=600, **CLIPNET_PRESETS["tiny"])(torch.rand(2, 4, 500))


def test_one_hot_and_its_reverse_complement() -> None:
    codes = torch.tensor([[0, 1, 2, 3, 4, 0]], dtype=torch.uint8)
    encoded = one_hot(codes, 0.25)
    assert encoded[0, :, 4].tolist() == [0.25] * 4
    assert encoded[0].sum(0).tolist() == [1.0] * 6
    assert encoded[0].argmax(0)[:4].tolist() == [0, 1, 2, 3]
    assert torch.equal(one_hot(reverse_complement(codes), 0.25), encoded.flip(1, 2))


def test_two_hot_reverse_complement_keeps_self_complementary_heterozygotes() -> None:
    first = torch.tensor([[0, 1, 0, 4, 2]], dtype=torch.uint8)  # A/T het, C/G het, A/C het, N, G/G
    second = torch.tensor([[3, 2, 1, 4, 2]], dtype=torch.uint8)
    encoded = two_hot(first, second)
    assert encoded[0].sum(0).tolist() == [2, 2, 2, 0, 2]
    turned = two_hot(reverse_complement(first), reverse_complement(second))
    assert torch.equal(turned, encoded.flip(1, 2))
    assert torch.equal(turned[0, :, -1], encoded[0, :, 0])  # A/T stays A/T
    assert torch.equal(turned[0, :, -2], encoded[0, :, 1])  # C/G stays C/G


def test_reverse_profile_exchanges_strands() -> None:
    plus, minus = torch.tensor([1.0, 2, 3]), torch.tensor([4.0, 5, 6])
    assert reverse_profile(torch.cat([plus, minus])).tolist() == [6, 5, 4, 3, 2, 1]


def test_legnet_equals_the_published_layers_in_one_dimension() -> None:
    """The whole forward pass, recomputed with one-dimensional functions in the order the paper gives."""
    torch.manual_seed(0)
    model = LegNet(**PRESETS["tiny"]).eval()
    for buffer_name, buffer in model.named_buffers():
        if buffer_name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif buffer_name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.0, 0.3)
    weights = model.state_dict()

    def convolve(x: torch.Tensor, name: str, groups: int = 1) -> torch.Tensor:
        bias = weights.get(f"{name}.bias")
        return nn.functional.conv1d(x, weights[f"{name}.weight"].squeeze(2), bias, padding="same", groups=groups)

    def normalise(x: torch.Tensor, name: str) -> torch.Tensor:
        part = [weights[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        return nn.functional.batch_norm(x, *part)

    silu = nn.functional.silu
    x = one_hot(torch.from_numpy(np.random.default_rng(0).integers(0, 5, (3, 120), np.uint8)), 0.25)
    y = silu(normalise(convolve(x, "stem.0"), "stem.1"))
    for stage in range(2):
        block = f"blocks.{stage}"
        inner = silu(normalise(convolve(y, f"{block}.inverted.0"), f"{block}.inverted.1"))
        depthwise = convolve(inner, f"{block}.inverted.3", groups=inner.shape[1])
        inner = silu(normalise(depthwise, f"{block}.inverted.4"))
        gate = f"{block}.inverted.6.gate"
        squeezed = silu(inner.mean(2) @ weights[f"{gate}.0.weight"].T + weights[f"{gate}.0.bias"])
        scale = torch.sigmoid(squeezed @ weights[f"{gate}.2.weight"].T + weights[f"{gate}.2.bias"])
        projected = convolve(inner * scale[:, :, None], f"{block}.inverted.7")
        joined = torch.cat([silu(normalise(projected, f"{block}.inverted.8")), y], dim=1)
        y = nn.functional.max_pool1d(silu(normalise(convolve(joined, f"{block}.local.0"), f"{block}.local.1")), 4)
    pooled = convolve(normalise(y, "mapper.0"), "mapper.1").mean(2)
    hidden = pooled @ weights["head.1.weight"].T + weights["head.1.bias"]
    expected = silu(normalise(hidden, "head.2")) @ weights["head.4.weight"].T + weights["head.4.bias"]
    torch.testing.assert_close(model(x), expected.squeeze(1), rtol=1e-4, atol=1e-5)
