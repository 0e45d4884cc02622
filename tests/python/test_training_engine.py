"""The training loop: what it promises about schedules, interruptions, memory, processes and bad losses."""

import logging
import math
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from allelegro.errors import DataError
from allelegro.models import device as devices
from allelegro.models.legnet import PRESETS, LegNet
from allelegro.training import distributed, engine
from allelegro.training.engine import PROGRESS, TERMINATED, Objective, fit, schedule_factor
from allelegro.training.settings import Precision, TrainingSettings
from helpers.toy_problem import SETTINGS, GcContent

HERE = Path(__file__).parent
pytestmark = pytest.mark.usefixtures("one_thread")
FP32 = replace(SETTINGS, precision="fp32")


def weights(module: nn.Module) -> Tensor:
    return torch.cat([tensor.flatten().float() for tensor in module.state_dict().values()])


def trained(objective: Objective, settings: TrainingSettings = SETTINGS, checkpoint_dir: Path | None = None) -> Tensor:
    fit(objective, settings, "cpu", checkpoint_dir)
    return weights(objective.module)


def test_onecycle_is_torchs() -> None:
    settings = TrainingSettings(epochs=1, batch_size=1, max_lr=0.01)
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    total = 400
    # torch counts its last step as the end of the cycle, which for a schedule of "done" shares is one step later.
    reference = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01, total + 1, pct_start=0.3, cycle_momentum=False)
    for step in range(total):
        assert settings.max_lr * schedule_factor(settings, step / total) == pytest.approx(
            reference.get_last_lr()[0], rel=0.02, abs=1e-5
        )
        optimiser.step()
        reference.step()


def test_constant_schedule_warms_up() -> None:
    settings = TrainingSettings(epochs=1, batch_size=1, max_lr=1, schedule="constant", warmup=0.2)
    assert schedule_factor(settings, 0.1) == pytest.approx(0.5)
    assert schedule_factor(settings, 0.2) == schedule_factor(settings, 0.9) == 1


def test_it_learns_and_keeps_the_best_epoch() -> None:
    objective = GcContent(512, dropout=0.0)
    fitted = fit(objective, replace(SETTINGS, epochs=8, max_lr=0.05), "cpu")
    assert fitted.metrics["pearson"] > 0.9
    assert fitted.history["pearson"].max() == fitted.metrics["pearson"]
    assert fitted.history["pearson"].argmax() + 1 == fitted.best_epoch == fitted.metrics["epoch"]
    with torch.no_grad(), devices.autocast(torch.device("cpu"), devices.autocast_dtype(torch.device("cpu"))):
        assert objective.validate(objective.module.eval())["pearson"] == pytest.approx(
            fitted.metrics["pearson"], abs=1e-6
        )


def test_a_seed_decides_everything() -> None:
    first, again, other = (trained(GcContent(), replace(SETTINGS, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def run_toy(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{HERE.parents[1] / 'bin'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, HERE / "helpers" / "toy_problem.py", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_continuing_after_kill_gives_the_weights_of_never_stopping(tmp_path: Path) -> None:
    expected = trained(GcContent())
    killed = run_toy(tmp_path / "state", tmp_path / "weights.pt", "kill", 2)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "weights.pt").exists()
    objective = GcContent(seed=99)  # other initial weights: all must come from the kept state
    fitted = fit(objective, SETTINGS, "cpu", tmp_path / "state")
    assert torch.equal(weights(objective.module), expected)
    assert fitted.history["epoch"].tolist() == [1, 2, 3, 4]


def test_a_running_training_says_where_it_is_beside_its_state(tmp_path: Path) -> None:
    fitted = fit(GcContent(), SETTINGS, "cpu", tmp_path)
    line = (tmp_path / PROGRESS).read_text()
    assert re.match(rf"epoch {SETTINGS.epochs}/{SETTINGS.epochs}, loss \d+\.\d+, .*, at most 0 min left\n", line)
    fitted.forget_state()
    assert not any(tmp_path.iterdir())


def test_sigterm_within_an_epoch_keeps_the_state_and_leaves_with_143(tmp_path: Path) -> None:
    expected = trained(GcContent())
    terminated = run_toy(tmp_path / "state", tmp_path / "weights.pt", "terminate", 6)
    assert terminated.returncode == TERMINATED
    assert torch.equal(trained(GcContent(), SETTINGS, tmp_path / "state"), expected)


def test_other_settings_start_their_own_state(tmp_path: Path) -> None:
    trained(GcContent(), SETTINGS, tmp_path)
    other = replace(SETTINGS, max_lr=0.01)
    assert torch.equal(trained(GcContent(), other, tmp_path), trained(GcContent(), other))


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-100], lambda content: content[:5000] + b"?" + content[5001:], lambda content: b""],
    ids=["truncated", "one byte changed", "empty"],
)
def test_a_damaged_state_is_set_aside_and_training_starts_again(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    expected = trained(GcContent(), SETTINGS, tmp_path)
    (state,) = tmp_path.glob("*.pt")
    state.write_bytes(damage(state.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert torch.equal(trained(GcContent(), SETTINGS, tmp_path), expected)
    assert f"{state}: this training state is damaged" in caplog.text
    assert sorted(tmp_path.glob("*.[dp]*")) == [state.with_suffix(".damaged"), state]


def test_other_code_starts_its_own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(GcContent(), SETTINGS, tmp_path)
    monkeypatch.setattr(engine, "code_checksum", lambda: "edited")
    trained(GcContent(), SETTINGS, tmp_path)
    assert len(list(tmp_path.glob("*.pt"))) == 2


class Small(GcContent):
    """Runs out of memory with more than ``fits`` examples."""

    fits = 10

    def loss(self, module: nn.Module, batch: Tensor) -> Tensor:
        if len(batch) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().loss(module, batch)


def test_out_of_memory_halves_the_micro_batch_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        got = trained(Small(dropout=0.0))
    assert [record.args for record in caplog.records] == [(32, 16), (32, 8)]
    assert torch.equal(got, trained(GcContent(dropout=0.0), replace(SETTINGS, micro_batch=8)))


def test_a_single_example_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Small, "fits", 0)
    with pytest.raises(DataError, match="single training example"):
        fit(Small(), SETTINGS, "cpu")


class Linear(GcContent):
    """Without batch normalisation and dropout, accumulation must be exact up to rounding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Flatten(), nn.Linear(4 * 48, 1), nn.Flatten(0))


def test_accumulated_gradients_are_those_of_the_whole_batch() -> None:
    whole = trained(Linear(), FP32)
    torch.testing.assert_close(trained(Linear(), replace(FP32, micro_batch=7)), whole, rtol=1e-4, atol=1e-5)


def test_a_loss_that_is_not_finite_names_the_batch() -> None:
    objective = GcContent()
    objective.target[17] = math.nan
    with pytest.raises(DataError, match=r"epoch 1 batch \d: the loss is nan \(training examples") as caught:
        fit(objective, SETTINGS, "cpu")
    assert "lower --max-lr" in str(caught.value)


class Scripted(GcContent):
    """Validation metrics as given."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = iter(values)

    def validate(self, module: nn.Module) -> dict[str, float]:
        return {"pearson": next(self.values)}


@pytest.mark.parametrize(
    ("values", "maximise", "patience", "best", "epochs"),
    [
        ([0.1, 0.3, 0.2, 0.2], True, 2, 2, 4),
        ([0.1, 0.3, 0.2, 0.2, 0.9], True, 2, 2, 4),
        ([3.0, 1.0, 2.0, 0.5], False, 2, 4, 4),
        ([math.nan, 0.1, math.nan, 0.05], True, None, 2, 4),
    ],
)
def test_early_stopping(values: list[float], maximise: bool, patience: int | None, best: int, epochs: int) -> None:
    settings = replace(SETTINGS, maximise=maximise, patience=patience, epochs=len(values))
    fitted = fit(Scripted(values), settings, "cpu")
    assert (fitted.best_epoch, len(fitted.history)) == (best, epochs)
    assert fitted.by_patience == (patience is not None and epochs - best >= patience)


def test_steps_bound_an_epoch_and_gradients_are_clipped_only_when_asked() -> None:
    constant = replace(FP32, average=0.0, schedule="constant", warmup=0.0, epochs=1)
    objective, calls = GcContent(), []
    objective.sequences = lambda batch: calls.append(len(batch)) or len(batch)  # type: ignore[assignment, func-returns-value]
    fit(objective, replace(constant, steps=3), "cpu")
    assert calls == [32, 32, 32]
    free, wide, tight = (trained(GcContent(), replace(constant, clip=clip)) for clip in (None, 1e9, 1e-6))
    assert torch.equal(free, wide)
    assert not torch.equal(free, tight)


class Layered(GcContent):
    """The head learns from the start, the rest after two epochs and at a tenth of the rate."""

    def parameter_groups(self, max_lr: float) -> engine.ParameterGroups:
        assert isinstance(self.module, nn.Module)
        head = list(self.module.head.parameters())  # type: ignore[union-attr, operator]
        chosen = {id(parameter) for parameter in head}
        rest = [parameter for parameter in self.module.parameters() if id(parameter) not in chosen]
        return [{"params": rest, "lr": max_lr / 10, "frozen_epochs": 2}, {"params": head, "lr": max_lr}]


def test_frozen_groups_stay_until_their_epoch() -> None:
    before = [parameter.detach().clone() for parameter in GcContent().module.parameters()]
    settings = replace(SETTINGS, average=0.0, epochs=2)
    objective = Layered()
    fit(objective, settings, "cpu")
    groups = objective.parameter_groups(1.0)
    frozen = {id(parameter) for parameter in groups[0]["params"]}
    for was, now in zip(before, objective.module.parameters(), strict=True):
        assert torch.equal(was, now.detach()) == (id(now) in frozen)


class Pulled(Layered):
    def __init__(self, pull: float) -> None:
        super().__init__()
        self.pull = pull

    def parameter_groups(self, max_lr: float) -> engine.ParameterGroups:
        rest, head = super().parameter_groups(max_lr)
        return [{"params": rest["params"], "lr": max_lr, "pull": self.pull, "weight_decay": 0.0}, head]


def test_a_pull_draws_its_group_towards_the_start() -> None:
    settings = replace(SETTINGS, average=0.0, epochs=2, schedule="constant", warmup=0.001)
    before = [parameter.detach().clone() for parameter in GcContent().module.parameters()]
    distance = []
    for pull in (0.0, 5.0, 1 / settings.max_lr):
        objective = Pulled(pull)
        fit(objective, settings, "cpu")
        pulled = {id(parameter) for parameter in objective.parameter_groups(1.0)[0]["params"]}
        pairs = zip(before, objective.module.parameters(), strict=True)
        distance.append(sum(float((now.detach() - was).norm()) for was, now in pairs if id(now) in pulled))
    assert distance[0] > distance[1] > 0
    assert distance[2] < 1e-3 * distance[0]  # a pull of one over the rate ends each step at the start


def test_device_choice(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with caplog.at_level(logging.INFO):
        assert devices.choose_device("auto").type == "cpu"
    assert "device: cpu" in caplog.text
    for name, message in {"cuda": "0 GPU", "gpu": "unknown", "mps": "not supported"}.items():
        with pytest.raises(DataError, match=message):
            devices.choose_device(name)


@pytest.mark.parametrize(("flag", "expected"), [({"avx512_bf16": True}, torch.bfloat16), ({"avx2": True}, None)])
def test_bfloat16_only_where_the_cpu_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, flag: dict[str, bool], expected: torch.dtype | None
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flag)
    devices._cpu_has_bfloat16.cache_clear()
    assert devices.autocast_dtype(torch.device("cpu")) == expected
    devices._cpu_has_bfloat16.cache_clear()


@pytest.mark.parametrize("dtype", [torch.bfloat16, None])
def test_both_precisions_learn(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype | None) -> None:
    monkeypatch.setattr(engine, "autocast_dtype", lambda device: dtype)
    fitted = fit(GcContent(512, dropout=0.0), replace(SETTINGS, epochs=8, max_lr=0.05), "cpu")
    assert fitted.metrics["pearson"] > 0.8


@pytest.mark.parametrize(("precision", "tf32"), [("fp32", False), ("tf32", True), ("auto", True)])
def test_a_gpu_computes_exactly_only_when_told(
    monkeypatch: pytest.MonkeyPatch, precision: Precision, tf32: bool
) -> None:
    for name in ("allow_tf32", "deterministic", "benchmark"):
        monkeypatch.setattr(torch.backends.cudnn, name, getattr(torch.backends.cudnn, name))
    before = torch.get_float32_matmul_precision()
    engine._set_backends(torch.device("cuda"), exact=precision == "fp32")
    assert torch.backends.cudnn.allow_tf32 == tf32
    assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
    torch.set_float32_matmul_precision(before)


def test_the_compiled_branch_gives_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    compiled = trained(WithoutNoise(), replace(FP32, compile=True))
    torch.testing.assert_close(compiled, trained(WithoutNoise(), FP32), rtol=1e-4, atol=1e-5)


def test_forward_and_loss_stay_on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under fake tensors every operation checks its devices, without a GPU."""
    objective = GcContent()
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            objective.module = LegNet(**PRESETS["tiny"])
        monkeypatch.setattr(objective.module, "to", lambda device: None)  # fake weights cannot be moved
        objective.to(torch.device("cuda"))
        objective.begin_epoch(0, torch.Generator())
        with torch.autocast("cuda", torch.bfloat16):
            loss = objective.loss(objective.module, torch.arange(16, device="cuda"))
        assert (loss.device.type, loss.dtype, loss.shape) == ("cuda", torch.float32, ())


class WithoutNoise(GcContent):
    """A bias before batch normalisation has no effect: its gradient is rounding noise, which Adam makes into steps."""

    def __init__(self) -> None:
        super().__init__(dropout=0.0)
        for name in ("mapper.0.bias", "mapper.1.bias", "head.1.bias"):
            self.module.get_parameter(name).requires_grad_(False)

    def parameter_groups(self, max_lr: float) -> engine.ParameterGroups:
        return [{"params": [p for p in self.module.parameters() if p.requires_grad], "lr": max_lr}]


def distributed_run(rank: int, size: int, port: int, out: str) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    objective = WithoutNoise()
    fitted = fit(objective, replace(FP32, batch_size=31), "cpu")
    if rank == 0:
        torch.save({"weights": objective.module.state_dict(), "pearson": fitted.history["pearson"].tolist()}, out)
    torch.distributed.destroy_process_group()


def test_two_processes_give_the_weights_of_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = (2, port, str(tmp_path / "weights.pt"))
    torch.multiprocessing.start_processes(distributed_run, arguments, nprocs=2, start_method="fork")
    objective = WithoutNoise()
    one = fit(objective, replace(FP32, batch_size=31), "cpu")
    two = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert two["pearson"] == pytest.approx(one.history["pearson"].tolist(), abs=1e-3)
    for name, expected in objective.module.state_dict().items():
        torch.testing.assert_close(two["weights"][name], expected, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: n + m)


def test_synchronised_norm_of_one_process_is_plain(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        plain = nn.BatchNorm2d(3)
        synchronised = distributed.synchronise_norms(nn.Sequential(nn.BatchNorm2d(3)), torch.device("cpu"))
        x = torch.randn(5, 3, 1, 7)
        torch.testing.assert_close(synchronised(x), plain(x))
        torch.testing.assert_close(synchronised[0].running_var, plain.running_var)  # type: ignore[index]
        torch.testing.assert_close(synchronised.eval()(x), plain.eval()(x))
    finally:
        torch.distributed.destroy_process_group()


def test_the_allocator_setting_is_skipped_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: object())
    devices.keep_freed_memory()


def test_compiling_needs_a_compiler_and_pythons_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    (tmp_path / "Python.h").touch()
    assert not devices.can_compile()
    (tmp_path / "gcc").touch(mode=0o755)
    assert devices.can_compile()
    (tmp_path / "Python.h").unlink()
    assert not devices.can_compile()
