"""Our passes over a layer's memory against torch's own layers in float64, and what must not change them."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from allelegro.models.fused import Depthwise, Layers, SqueezeExcite, gated_silu, pooled_silu, silu
from allelegro.models.legnet import PRESETS, LegNet

CHANNELS = 12
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "normalisation and activation": lambda: Layers(nn.BatchNorm2d(CHANNELS), nn.SiLU()),
    "normalisation of all batches": lambda: Layers(nn.BatchNorm2d(CHANNELS, momentum=None), nn.SiLU()),
    "squeeze and excitation": lambda: SqueezeExcite(CHANNELS, 4),
    "depthwise convolution of 3": lambda: Depthwise(CHANNELS, 3),
    "depthwise convolution of 9": lambda: Depthwise(CHANNELS, 9),
}


def layer_of(name: str) -> nn.Module:
    torch.manual_seed(1)
    layer = LAYERS[name]()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, 0.5, 0.5)
    return layer.train()


def examples(n: int = 37, width: int = 31) -> tuple[Tensor, Tensor]:
    """Layer input and the gradient of its output, not a whole number of pieces, some channels far from zero."""
    torch.manual_seed(2)
    x, gradient = (torch.randn(n, CHANNELS, 1, width).bfloat16() for _ in range(2))  # numbers that both dtypes have
    return x * 3 + torch.arange(CHANNELS)[:, None, None].bfloat16(), gradient


def passed(layer: nn.Module, x: Tensor, gradient: Tensor) -> dict[str, Tensor]:
    """Output and every gradient and buffer after one forward and one backward pass."""
    x = x.detach().clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=x.dtype == torch.bfloat16):
        result = layer(x)
    result.backward(gradient)
    assert result.dtype == x.dtype and x.grad is not None
    parameters = {
        name: parameter.grad.clone() for name, parameter in layer.named_parameters() if parameter.grad is not None
    }
    buffers = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    return {"output": result.detach(), "input": x.grad, **parameters, **buffers}


@pytest.mark.parametrize(
    ("dtype", "rounding"), [(torch.bfloat16, 0.006), (torch.float32, 3e-6)], ids=["bfloat16", "float32"]
)
@pytest.mark.parametrize("name", LAYERS)
def test_fused_layers_are_those_of_torch_up_to_rounding(name: str, dtype: torch.dtype, rounding: float) -> None:
    """bfloat16 rounds by at most 0.0039, float32 by 6e-8; its sums are float32."""
    x, gradient = examples()
    exact = passed(layer_of(name).double(), x.double(), gradient.double())
    ours = passed(layer_of(name), x.to(dtype), gradient.to(dtype))
    assert ours.keys() == exact.keys()
    for key, expected in exact.items():
        error = (ours[key].double() - expected.double()).norm() / expected.double().norm()
        assert error < rounding, (key, error)


def is_ours(result: Tensor) -> bool:
    return type(result.grad_fn).__name__ in (
        "_NormalisedSiluBackward",
        "_GatedBackward",
        "_DepthwiseConvolutionBackward",
    )


@pytest.mark.parametrize("name", LAYERS)
def test_only_training_is_fused_and_not_in_float64(name: str) -> None:
    x, layer = examples()[0].requires_grad_(), layer_of(name)
    with torch.autocast("cpu", torch.bfloat16):
        assert is_ours(layer(x))
        assert not is_ours(layer.eval()(x))
    assert is_ours(layer.train()(x.float()))
    assert not is_ours(layer.eval()(x.float()))
    assert not is_ours(layer.train().double()(x.double()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bfloat16", "float32"])
@pytest.mark.parametrize("name", LAYERS)
def test_neither_threads_nor_memory_layout_change_a_number(name: str, dtype: torch.dtype) -> None:
    x, gradient = (values.to(dtype) for values in examples())
    threads = torch.get_num_threads()
    results = []
    try:
        for number, layout in ((1, torch.contiguous_format), (3, torch.channels_last)):
            torch.set_num_threads(number)
            results.append(passed(layer_of(name), x.contiguous(memory_format=layout), gradient))
    finally:
        torch.set_num_threads(threads)
    for key, value in results[0].items():
        assert torch.equal(value, results[1][key]), key


def test_what_is_not_a_number_stays_so() -> None:
    x, gradient = examples()
    x[5, 2, 0, 7] = float("nan")
    results = passed(layer_of("normalisation and activation"), x, gradient)
    assert results["output"][:, 2].isnan().all() and results["input"][:, 2].isnan().all()
    assert not results["output"][:, :2].isnan().any()


@pytest.mark.parametrize(("half", "rounding"), [(True, 0.02), (False, 1e-5)], ids=["bfloat16", "float32"])
def test_a_training_step_of_the_network_is_that_of_torch_up_to_rounding(half: bool, rounding: float) -> None:
    torch.manual_seed(3)
    ours = LegNet(**PRESETS["tiny"]).train()
    plain = copy.deepcopy(ours).double()
    x = torch.nn.functional.one_hot(torch.randint(4, (64, 96)), 4).float().transpose(1, 2)
    target = torch.randn(64)
    losses = []
    for model, dtype in ((ours, torch.float32), (plain, torch.float64)):
        with torch.autocast("cpu", torch.bfloat16, enabled=half and model is ours):
            predicted = model(x.to(dtype))
        loss = (predicted.to(dtype) - target.to(dtype)).square().mean()
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=rounding / 2)
    for (name, got), (_, expected) in zip(ours.named_parameters(), plain.named_parameters(), strict=True):
        assert got.grad is not None and expected.grad is not None
        if expected.grad.norm() > 1e-4:
            angle = torch.nn.functional.cosine_similarity(got.grad.double().flatten(), expected.grad.flatten(), dim=0)
            assert angle > 1 - rounding, (name, angle)


@pytest.mark.parametrize(("n", "width"), [(1, 3), (5, 8), (37, 31)])
def test_joined_operations_of_prediction_are_those_of_torch_up_to_rounding(n: int, width: int) -> None:
    x, gate = examples(n, width)[0], SqueezeExcite(CHANNELS, 4).gate
    with torch.inference_mode():
        for operation in (
            silu,
            lambda x: gated_silu(x, gate),
            lambda x: pooled_silu(x, 2),
            lambda x: pooled_silu(x, 3),
        ):
            exact = operation(x.float())
            for layout in (torch.contiguous_format, torch.channels_last):
                ours = operation(x.clone(memory_format=layout)).float()
                assert ours.shape == exact.shape
                assert (ours - exact).norm() < 0.006 * exact.norm()
