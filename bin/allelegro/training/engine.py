"""The one training loop, of pretraining and fine-tuning alike.

A :class:`Objective` says what is learnt: it holds the network and its data (resident on the device), and turns a batch of example
numbers into a loss. An example is what is never split: a sequence in pretraining, a locus with all its donors in fine-tuning.
:func:`fit` does everything else: device, precision, optimiser, schedule, accumulation, processes, checkpoints, early stopping.

    class Mpra(Objective):
        def __init__(self, module, codes, activity): ...
        def loss(self, module, batch):
            return (module(one_hot(self.codes[batch], 0.25)).float() - self.activity[batch]).square().mean()
        def validate(self, module): return {"pearson": …, "loss": …}

    fitted = fit(objective, TrainingSettings(epochs=25, batch_size=1024, max_lr=0.01), "cpu", checkpoint_dir)
    objective.module          # holds the best epoch's weights
    fitted.history          # one row an epoch
    fitted.metrics          # of the best epoch

Everything random is drawn from (seed, epoch): the order of examples and, in :meth:`Objective.begin_epoch`, the augmentation of every
example. So neither micro-batches nor the number of processes nor an interruption changes what is learnt.
"""

import hashlib
import io
import json
import logging
import math
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from allelegro import models
from allelegro.errors import DataError
from allelegro.io.atomic import atomic_path
from allelegro.models.device import autocast, autocast_dtype, can_compile, choose_device, keep_freed_memory
from allelegro.progress import progress
from allelegro.resources import out_of_memory
from allelegro.training.distributed import World, join_world, synchronise_norms
from allelegro.training.settings import TrainingSettings

log = logging.getLogger(__name__)

PROGRESS = "progress.txt"  # the latest line of a training that goes on, in the folder of its state
TERMINATED = 128 + signal.SIGTERM  # the exit status of a process that leaves on SIGTERM
_STEPS_BETWEEN_CHECKS = {"cpu": 1, "cuda": 25}  # looking at a loss makes a GPU wait

_DIGEST = hashlib.sha256().digest_size  # bytes at the end of a kept state

ParameterGroups = list[dict[str, Any]]


class Objective(ABC):
    """What one run learns. ``module`` is the network; ``examples`` the number of training examples."""

    module: nn.Module
    examples: int

    @abstractmethod
    def to(self, device: torch.device) -> None:
        """Move the network and the data to the device, for good."""

    @abstractmethod
    def loss(self, module: nn.Module, batch: Tensor) -> Tensor:
        """Mean loss over the examples of ``batch`` (int64 ``[n]``, on the device), a float32 scalar.

        Call the given ``module`` (it may be compiled or distributed), not ``self.module``; this runs under autocast.
        """

    @abstractmethod
    def validate(self, module: nn.Module) -> dict[str, float]:
        """Metrics on the validation examples; ``module`` is in evaluation mode, gradients are off."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A checksum of data, architecture and initial weights: a run is continued only from its own state."""

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:  # noqa: B027 (most need nothing)
        """Draw the augmentation of every example for this epoch from ``generator`` (a CPU one)."""

    def parameter_groups(self, max_lr: float) -> ParameterGroups:
        """Groups of AdamW: ``params``, their peak ``lr``, and ``frozen_epochs`` during which they stay as they are.

        ``weight_decay`` of a group goes before that of the settings. With ``pull`` its parameters decay towards the
        values that they have now.
        """
        return [{"params": list(self.module.parameters()), "lr": max_lr}]

    def sequences(self, batch: Tensor) -> int:
        """Sequences that pass through the network for these examples (for the rate that is shown)."""
        return len(batch)

    def describe(self, batch: Tensor) -> str:
        """The examples of a batch in words, for the message about a loss that is not finite."""
        shown = ", ".join(str(int(example) + 1) for example in batch[:5])
        return f"training examples {shown}{', …' if len(batch) > 5 else ''}"


@dataclass
class Fitted:
    """What :func:`fit` hands back besides the network.

    ``by_patience`` tells a training that stopped improving from one that ended with its last epoch. Of several processes only the one that ``leads`` may write outputs.
    """

    history: pd.DataFrame
    best_epoch: int
    metrics: dict[str, float]
    leads: bool
    by_patience: bool
    state: Path | None = None

    def forget_state(self) -> None:
        """Remove the state that was kept during training; call it when the model is written."""
        if self.state is not None:
            self.state.unlink(missing_ok=True)
            self.state.with_name(PROGRESS).unlink(missing_ok=True)


@dataclass
class _State:
    """All that changes during training, apart from the network and the optimiser."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the next one
    losses: list[float] = field(default_factory=list)  # of those steps
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)


def fit(
    objective: Objective, settings: TrainingSettings, device: str = "auto", checkpoint_dir: Path | None = None
) -> Fitted:
    """Train ``objective.module`` and leave the best epoch's weights in it.

    With ``checkpoint_dir`` the whole state is kept there after every epoch (and on SIGTERM or SIGHUP, after which the process
    leaves with status 128 and the signal's number), and a run with the same objective and settings continues from it: the result is the same as without a stop.
    Raises DataError when a loss is not finite, naming the batch, and when a single example does not fit into memory.
    """
    return _Run(objective, settings, choose_device(device), checkpoint_dir).train()


def schedule_factor(settings: TrainingSettings, done: float) -> float:
    """Learning rate as a share of its peak after ``done`` (0 to 1) of all steps."""
    rising = done < settings.warmup
    if settings.schedule == "constant":
        return max(done / settings.warmup, 0.01) if rising else 1.0
    if rising:
        low, high, share = 1 / 25, 1.0, done / settings.warmup
    else:
        low, high, share = 1.0, 1 / 25 / 1e4, (done - settings.warmup) / (1 - settings.warmup)
    return high + (low - high) * (1 + math.cos(math.pi * share)) / 2


class _Run:
    """One training run on one device (of one process among several)."""

    def __init__(
        self, objective: Objective, settings: TrainingSettings, device: torch.device, checkpoint_dir: Path | None
    ) -> None:
        self.objective, self.settings, self.device = objective, settings, device
        self.world: World = join_world(device)
        self.dtype = autocast_dtype(device) if settings.precision == "auto" else None
        self.batch_size = min(settings.batch_size, objective.examples)
        self.steps = min(objective.examples // self.batch_size, settings.steps or objective.examples)
        self.micro_batch = settings.micro_batch or self.batch_size
        self.state = _State()
        self.file = checkpoint_dir / f"{self._fingerprint()}.pt" if checkpoint_dir else None
        self.module = self._prepare()
        self.groups = objective.parameter_groups(settings.max_lr)
        self.optimiser = torch.optim.AdamW(
            [
                {
                    "params": group["params"],
                    "lr": group["lr"],
                    "weight_decay": group.get("weight_decay", settings.weight_decay),
                }
                for group in self.groups
            ],
            weight_decay=settings.weight_decay,
            eps=settings.epsilon,
            fused=True,
        )
        self.starts = [
            [p.detach().clone() for p in group["params"]] if group.get("pull") else [] for group in self.groups
        ]
        self.average = self._averaged()
        self.ended_by = 0  # the signal that asked to leave

    def _prepare(self) -> nn.Module:
        """The network as it is called during training: on the device, distributed, compiled."""
        objective, settings = self.objective, self.settings
        _set_backends(self.device, exact=settings.precision == "fp32")
        torch.manual_seed(settings.seed)
        if self.world.size > 1:
            objective.module = synchronise_norms(objective.module, self.device)
        objective.to(self.device)
        objective.module.to(memory_format=torch.channels_last)
        module = objective.module
        if self.world.size > 1:
            module = nn.parallel.DistributedDataParallel(module)
        if settings.compile if settings.compile is not None else self.device.type == "cuda" and can_compile():
            module = torch.compile(module)  # type: ignore[assignment]
        log.info(
            "%d examples, batch %d, %s%s%s",
            objective.examples,
            self.batch_size,
            "bfloat16" if self.dtype else settings.precision.replace("auto", "fp32"),
            f", {self.world.size} processes" if self.world.size > 1 else "",
            ", compiled" if module is not objective.module and self.world.size == 1 else "",
        )
        return module

    def _averaged(self) -> nn.Module | None:
        if not self.settings.average:
            return None
        average = running_mean(self.settings.average)
        return torch.optim.swa_utils.AveragedModel(self.objective.module, multi_avg_fn=average, use_buffers=True)

    def train(self) -> Fitted:
        """Every epoch that is left."""
        self._resume()
        settings, state = self.settings, self.state
        done = (state.epoch * self.steps + state.step) * self.batch_size
        with (
            self._leaving_on_signals(),
            progress("training", settings.epochs * self.steps * self.batch_size) as advance,
        ):
            if self.world.leads:
                advance(done, "")
            while state.epoch < settings.epochs and not self._stalled():
                self._epoch(advance)
        if not state.best:
            raise DataError("no epoch was trained: --epochs must be at least 1")
        self.objective.module.load_state_dict(state.best)
        best = next(row for row in state.history if row["epoch"] == state.best_epoch)
        history = pd.DataFrame(state.history)
        return Fitted(history, state.best_epoch, best, self.world.leads, self._stalled(), self.file)

    def _stalled(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.state.epoch - self.state.best_epoch >= patience

    def _epoch(self, advance: Callable[[int, str], None]) -> None:
        objective, state, settings = self.objective, self.state, self.settings
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + state.epoch)
        order = torch.randperm(objective.examples, generator=generator).to(self.device)
        objective.begin_epoch(state.epoch, generator)
        if state.step == 0:
            torch.manual_seed(settings.seed * 1_000_003 + state.epoch)
        losses = torch.zeros(self.steps, device=self.device)
        losses[: state.step] = torch.tensor(state.losses)
        started, first, sequences, unchecked = time.monotonic(), state.step, 0, state.step
        self.module.train()
        for step in range(first, self.steps):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            losses[step] = self._step(batch, state.epoch * self.steps + step)
            sequences += objective.sequences(batch)
            state.step = step + 1
            if (step + 1) % _STEPS_BETWEEN_CHECKS[self.device.type] == 0 or step + 1 == self.steps:
                self._check_finite(losses, order, unchecked, step + 1)
                mean = float(losses[: step + 1].mean())
                rate = sequences / (time.monotonic() - started)
                advance((step + 1 - unchecked) * self.batch_size, self._note(mean, rate))
                unchecked = step + 1
            if self.ended_by:
                state.losses = losses[: step + 1].tolist()
                self._leave()
        seconds = time.monotonic() - started
        self._finish_epoch(self.world.mean(losses.mean()), sequences / seconds)

    def _step(self, batch: Tensor, step: int) -> Tensor:
        """One update from a global batch; returns its mean loss on this process. Halves the micro-batch when memory ends."""
        self._set_rates(step)
        while True:
            try:
                loss = self._gradients(batch)
                break
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
            # Outside the handler: the error keeps the graph, and with it the memory, alive.
            self._halve(batch)
        if self.settings.clip is not None:
            parameters = [parameter for group in self.groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.settings.clip, foreach=True)
        self.optimiser.step()
        self._pull()
        if self.average is not None:
            self.average.update_parameters(self.objective.module)  # type: ignore[operator]
        return loss

    def _gradients(self, batch: Tensor) -> Tensor:
        """Accumulate the gradient of the mean loss over the whole batch, a micro-batch at a time."""
        self.optimiser.zero_grad(set_to_none=True)
        share = self.world.share(batch)
        parts = torch.split(share, self.micro_batch)
        total = torch.zeros((), device=self.device)
        for number, part in enumerate(parts, 1):
            last = number == len(parts)
            with nullcontext() if last or self.world.size == 1 else self.module.no_sync():  # type: ignore[operator]
                with autocast(self.device, self.dtype):
                    loss = self.objective.loss(self.module, part)
                # Processes average their gradients, so each weighs its own by its share of the batch.
                torch.autograd.backward(loss * (self.world.size * len(part) / len(batch)))
            total += loss.detach() * (len(part) / len(share))
        return total

    def _halve(self, batch: Tensor) -> None:
        size = min(self.micro_batch, len(batch))
        if self.world.size > 1:
            raise DataError(f"out of memory with {size} examples per step on each device; lower --batch-size")
        if size == 1:
            raise DataError("out of memory with a single training example; use a smaller model or input width")
        self.micro_batch = math.ceil(size / 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        log.warning(
            "out of memory: batches of %d now go through in parts of %d, with accumulated gradients",
            len(batch),
            self.micro_batch,
        )

    @torch.no_grad()
    def _pull(self) -> None:
        """Decay towards the start (L2-SP: Li et al. 2018, arXiv:1802.01483), apart from the gradient as in AdamW."""
        for told, group, start in zip(self.groups, self.optimiser.param_groups, self.starts, strict=True):
            if told.get("pull"):
                torch._foreach_lerp_(group["params"], start, min(1.0, group["lr"] * told["pull"]))

    def _set_rates(self, step: int) -> None:
        factor = schedule_factor(self.settings, step / (self.settings.epochs * self.steps))
        for settings, group in zip(self.groups, self.optimiser.param_groups, strict=True):
            frozen = step < settings.get("frozen_epochs", 0) * self.steps
            group["lr"] = 0.0 if frozen else settings["lr"] * factor

    def _check_finite(self, losses: Tensor, order: Tensor, first: int, last: int) -> None:
        broken = (~torch.isfinite(losses[first:last])).nonzero().flatten()
        if len(broken):
            step = first + int(broken[0])
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            raise DataError(
                f"epoch {self.state.epoch + 1} batch {step + 1}: the loss is {float(losses[step])} "
                f"({self.objective.describe(batch)}); check these examples or lower --max-lr"
            )

    def _note(self, loss: float, rate: float) -> str:
        metric = self.settings.metric
        latest = f" {metric} {self.state.history[-1][metric]:.3f}" if self.state.history else ""
        return f"epoch {self.state.epoch + 1}/{self.settings.epochs} loss {loss:.4f}{latest} {rate:,.0f} seq/s"

    def _finish_epoch(self, loss: float, rate: float) -> None:
        state, settings = self.state, self.settings
        metrics = self._validate()
        if settings.metric not in metrics:
            raise ValueError(f"the objective's metrics {sorted(metrics)} lack {settings.metric}")
        state.epoch, state.step, state.losses = state.epoch + 1, 0, []
        # Without the seconds and the rate, which the log has: the same training gives the same file.
        learning_rate = self.optimiser.param_groups[-1]["lr"]
        state.history.append({"epoch": state.epoch, "train_loss": loss, **metrics, "learning_rate": learning_rate})
        if self._is_best(metrics[settings.metric]):
            state.best_epoch = state.epoch
            state.best = {name: tensor.detach().clone() for name, tensor in self._evaluated().state_dict().items()}
        self._save()
        if self.world.leads:
            shown = " ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            log.info("epoch %d/%d: loss %.4f %s (%.0f seq/s)", state.epoch, settings.epochs, loss, shown, rate)
            self._tell(
                f"epoch {state.epoch}/{settings.epochs}, loss {loss:.4f}, {shown}", self.steps * self.batch_size / rate
            )

    def _tell(self, what: str, seconds: float) -> None:
        """Leave a line with the partial checkpoint for those who wait: where training is, and how long it takes at most."""
        if self.file is not None:
            left = seconds * (self.settings.epochs - self.state.epoch)
            with atomic_path(self.file.with_name(PROGRESS), at_once=True) as partial:
                partial.write_text(f"{what}, at most {math.ceil(left / 60)} min left\n", encoding="utf-8")

    def _evaluated(self) -> nn.Module:
        """The network whose weights count: the running mean where one is kept."""
        return self.average.module if self.average is not None else self.objective.module  # type: ignore[return-value]

    def _validate(self) -> dict[str, float]:
        module = self._evaluated().eval()
        with torch.no_grad(), autocast(self.device, self.dtype):
            return self.world.agree(self.objective.validate(module))

    def _is_best(self, value: float) -> bool:
        sign = 1 if self.settings.maximise else -1
        earlier = [row[self.settings.metric] * sign for row in self.state.history[:-1]]
        # An undefined metric (constant predictions) is never better, but the first epoch must leave weights behind.
        return not self.state.best or (
            not math.isnan(value) and value * sign > max(filter(_defined, earlier), default=-math.inf)
        )

    def _fingerprint(self) -> str:
        what = {**asdict(self.settings), "objective": self.objective.fingerprint(), "code": code_checksum()}
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]

    def _save(self) -> None:
        if self.file is None or not self.world.leads:
            return
        document = {
            **asdict(self.state),
            "module": self.objective.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        buffer = io.BytesIO()
        torch.save(document, buffer)
        with atomic_path(self.file, at_once=True) as partial:
            partial.write_bytes(buffer.getvalue() + hashlib.sha256(buffer.getbuffer()).digest())

    def _kept(self) -> dict[str, Any] | None:
        """What an earlier run kept; a file that is damaged is set aside, so that training starts again."""
        if self.file is None or not self.file.is_file():
            return None
        content = self.file.read_bytes()
        if hashlib.sha256(content[:-_DIGEST]).digest() == content[-_DIGEST:]:
            kept: dict[str, Any] = torch.load(
                io.BytesIO(content[:-_DIGEST]), map_location=self.device, weights_only=True
            )
            return kept
        aside = self.file.with_suffix(".damaged")
        if self.world.leads:
            self.file.replace(aside)
        log.warning("%s: this training state is damaged; set aside as %s, training starts again", self.file, aside.name)
        return None

    def _resume(self) -> None:
        document = self._kept()
        if document is None:
            return
        self.objective.module.load_state_dict(document.pop("module"))
        self.optimiser.load_state_dict(document.pop("optimiser"))
        averaged = document.pop("average")
        if self.average is not None:
            self.average.load_state_dict(averaged)
        torch.set_rng_state(document.pop("random").cpu())
        random_cuda = document.pop("random_cuda")
        if random_cuda is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(random_cuda.cpu(), self.device)
        self.state = _State(**document)
        log.info("continuing after epoch %d, step %d of %s", self.state.epoch, self.state.step, self.file)

    @contextmanager
    def _leaving_on_signals(self) -> Iterator[None]:
        def note(number: int, frame: object) -> None:
            self.ended_by = number

        numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.signal(number, note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _leave(self) -> None:
        self._save()
        kept = f"state kept in {self.file}" if self.file else "nothing kept, there is no --checkpoint-dir"
        log.warning("terminated in epoch %d after step %d; %s", self.state.epoch + 1, self.state.step, kept)
        raise SystemExit(128 + self.ended_by)


def running_mean(memory: float) -> Callable[[Any, Any, Tensor | int], None]:
    """Update of averaged tensors by current ones, given how many updates went before.

    The memory grows to ``memory`` as (1 + n) / (10 + n): a training of few steps would else keep its start. So it is in
    TensorFlow's ``ExponentialMovingAverage``.
    """

    def update(averaged: Any, current: Any, updates: Tensor | int) -> None:
        n = int(updates)
        step = torch.optim.swa_utils.get_ema_multi_avg_fn(min(memory, (1 + n) / (10 + n)))  # type: ignore[no-untyped-call]
        step(averaged, current, updates)

    return update


@cache
def code_checksum() -> str:
    """SHA-256 of the code that trains and of torch's version: other code starts again instead of continuing."""
    folders = (Path(__file__).parent, Path(models.__file__).parent)
    digest = hashlib.sha256(str(torch.__version__).encode())
    for file in sorted(file for folder in folders for file in folder.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _defined(value: float) -> bool:
    return not math.isnan(value)


def _set_backends(device: torch.device, exact: bool) -> None:
    """Deterministic kernels; where float32 need not be ``exact``, a GPU computes what autocast leaves in it as tf32."""
    if device.type == "cpu":
        keep_freed_memory()
        return
    torch.set_float32_matmul_precision("highest" if exact else "high")
    torch.backends.cudnn.allow_tf32 = not exact
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
