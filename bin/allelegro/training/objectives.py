"""What LegNet and CLIPNET learn from loci × donors × distinct haplotypes, as objectives of the training engine."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from allelegro.models.clipnet import Clipnet, log_quantity
from allelegro.models.encoding import reverse_complement
from allelegro.models.legnet import LegNet
from allelegro.statistics import pearson
from allelegro.training.cohort import Cohort, Profiles, Split, diploid_log_rate, distinct_diplotypes, ranges
from allelegro.training.engine import Objective, ParameterGroups
from allelegro.training.head import fit_head
from allelegro.training.losses import AllelicLoss, CountLoss
from allelegro.training.settings import FinetuneSettings, TrainingSettings

# CLIPNET was made for human libraries, where a window holds some tens of RPM. A small genome has few windows, each with a
# larger share of all reads, so its targets are scaled to this mean before CLIPNET sees them.
CLIPNET_MEAN_RPM = 20.0


class DiploidObjective(Objective):
    """What both models share: each distinct sequence of a locus passes once, donors gather.

    The module's forward takes tensors only and returns the loss of the batch, so that it can be compiled and distributed.
    ``data["train"]`` lists the training examples: units, which are shifted and reverse-complemented as one.
    """

    target_scale = 1.0
    units: int

    def __init__(self, cohort: Cohort, split: Split, width: int, settings: FinetuneSettings) -> None:
        self.cohort, self.split, self.width, self.settings = cohort, split, width, settings
        self.data = {
            "codes": torch.from_numpy(cohort.codes),
            "offsets": torch.from_numpy(cohort.offsets),
            "index": torch.from_numpy(cohort.index),
            "counts": torch.from_numpy(cohort.counts.astype(np.float32)),
            "sizes": torch.from_numpy(cohort.locus_sizes.astype(np.float32)),
        }

    def learn_from(self, units: int, train: NDArray[np.int64]) -> None:
        """Set the number of units, and which of them training takes."""
        self.units, self.examples = units, len(train)
        self.data["train"] = torch.from_numpy(train)
        self.shift = torch.zeros(units, dtype=torch.int64)
        self.flip = torch.zeros(units, dtype=torch.bool)

    def to(self, device: torch.device) -> None:
        self.module.to(device)
        self.data = {name: tensor.to(device) for name, tensor in self.data.items()}

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Reverse-complement half of the units and shift each by up to ``max_shift`` bp."""
        most, device = self.settings.max_shift, self.data["codes"].device
        self.flip = (torch.rand(self.units, generator=generator) < 0.5).to(device)
        self.shift = torch.randint(-most, most + 1, (self.units,), generator=generator).to(device)

    def loci(self, examples: Tensor) -> Tensor:
        """Loci of training examples."""
        raise NotImplementedError

    def describe(self, batch: Tensor) -> str:
        names = self.cohort.windows["name"].iloc[self.loci(batch).cpu().numpy()]
        return f"windows {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.cohort.checksums, asdict(self.settings))).encode())
        for value in self.module.state_dict().values():
            digest.update(value.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()

    def training_settings(self) -> TrainingSettings:
        """How to optimise this objective."""
        settings = self.settings
        return TrainingSettings(
            epochs=settings.epochs,
            batch_size=settings.batch_loci,
            max_lr=self.max_lr(),
            weight_decay=settings.weight_decay,
            metric="loss",
            maximise=False,
            patience=settings.patience,
            precision=settings.precision,
            seed=settings.seed,
        )

    def max_lr(self) -> float:
        """Peak learning rate."""
        raise NotImplementedError

    def finished(self) -> nn.Module:
        """The network as it is stored, after training."""
        raise NotImplementedError

    def view(self, codes: Tensor, unit: Tensor, augment: bool) -> Tensor:
        """``codes`` ``[rows, span]`` of ``unit`` ``[rows]`` as the network sees them, ``[rows, width]``."""
        margin = (codes.shape[1] - self.width) // 2
        if not augment:
            return codes[:, margin : margin + self.width]
        column = (self.shift[unit] + margin)[:, None] + torch.arange(self.width, device=codes.device)
        shifted = codes.gather(1, column)
        return torch.where(self.flip[unit, None], reverse_complement(shifted), shifted)

    def rows(self, units: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of the units in one list, where each unit starts in it, and the place (0, 1, …) of each row's unit."""
        rows, local = ranges(offsets, units)
        lengths = offsets[units + 1] - offsets[units]
        return rows, local, torch.repeat_interleave(torch.arange(len(units), device=units.device), lengths)

    def predict(self, module: nn.Module, loci: Tensor) -> Tensor:
        """Log RPM ``[locus, donor]`` of training donors, both strands averaged."""
        raise NotImplementedError

    def validation_loss(self, module: nn.Module, loci: Tensor) -> Tensor:
        """The training loss on a batch of loci, not augmented."""
        raise NotImplementedError

    def validate(self, module: nn.Module) -> dict[str, float]:
        loci = torch.from_numpy(self.split.validation_loci).to(self.data["codes"].device)
        parts = torch.split(loci, self.settings.batch_loci)
        losses = [float(self.validation_loss(module, part)) * len(part) for part in parts]
        rates = [self.predict(module, part) for part in parts]
        predicted = torch.cat(rates).float().exp().cpu().numpy()
        quick = quick_metrics(self.cohort, self.split.validation_loci, predicted)
        return {"loss": sum(losses) / len(loci), **quick, **self.rate_metrics(module, parts, rates)}

    def rate_metrics(self, module: nn.Module, parts: Sequence[Tensor], rates: Sequence[Tensor]) -> dict[str, float]:
        """Further metrics of predicted log rates ``[locus, donor]`` of the validation loci, in parts."""
        return {}


def quick_metrics(cohort: Cohort, loci: NDArray[np.int64], predicted: NDArray[np.float32]) -> dict[str, float]:
    """``across_loci_r`` of locus means and ``between_donors_r`` of deviations from them, in log1p RPM."""
    observed, expected = np.log1p(cohort.rpm[loci]), np.log1p(predicted)
    deviations = [value - value.mean(axis=1, keepdims=True) for value in (observed, expected)]
    return {
        "across_loci_r": pearson(np.log1p(cohort.rpm[loci].mean(axis=1)), np.log1p(predicted.mean(axis=1))),
        "between_donors_r": pearson(*deviations),
    }


class DiploidLegNet(nn.Module):
    """LegNet, the diploid rate and the count likelihood as one module: tensors in, loss out.

    The network's output is kept near zero (``offset``, the training mean, is added in float32), because autocast rounds.
    """

    offset: Tensor

    def __init__(
        self,
        network: LegNet,
        count_loss: CountLoss,
        offset: float,
        hold_norms: bool,
        allelic_loss: AllelicLoss | None = None,
        allelic_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.network, self.count_loss, self.hold_norms = network, count_loss, hold_norms
        self.allelic_loss, self.allelic_weight = allelic_loss, allelic_weight
        self.register_buffer("offset", torch.tensor(offset))

    def train(self, mode: bool = True) -> "DiploidLegNet":
        """Training mode, but for normalisation statistics that are held: batches of few loci would make them jump."""
        super().train(mode)
        if self.hold_norms:
            for layer in self.network.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()
        return self

    def forward(self, codes: Tensor, index: Tensor, counts: Tensor, sizes: Tensor, *allelic: Tensor) -> Tensor:
        """Loss of loci: ``codes`` ``[rows, width]``, ``index`` ``[locus, donor, 2]``, ``counts`` and
        ``sizes`` ``[locus, donor]``.

        ``allelic`` are the donor of each library, its reads of each haplotype ``[locus, library, 2]``, and their
        ``reference`` ``[locus, library]`` (see :class:`AllelicLoss`), where there are any.
        """
        rates = self.log_rate(codes)
        loss: Tensor = self.count_loss(diploid_log_rate(rates, index), counts, sizes)
        if self.allelic_loss is not None:
            donor, reads, reference = allelic
            loss = loss + self.allelic_weight * self.allelic_loss(rates[index[:, donor]], reads, reference)
        return loss.float()

    def log_rate(self, codes: Tensor) -> Tensor:
        """Natural logarithm of the RPM of haplotypes ``[rows]``."""
        result: Tensor = self.network(LegNet.encode(codes)).float() + self.offset
        return result


class LegNetObjective(DiploidObjective):
    """LegNet as a haplotype's log rate under a count likelihood; a unit is a locus with all its donors."""

    module: DiploidLegNet

    def __init__(
        self, network: nn.Module, cohort: Cohort, split: Split, width: int, settings: FinetuneSettings
    ) -> None:
        super().__init__(cohort, split, width, settings)
        self.learn_from(len(cohort.windows), split.train_loci)
        assert isinstance(network, LegNet)
        reads, sizes = (values[split.train_loci].sum(axis=1) for values in (cohort.counts, cohort.locus_sizes))
        level = np.log((reads + 0.5) / sizes)
        pretrained = settings.init is not None
        loss = CountLoss(settings.loss, settings.between_weight)
        self.allelic = cohort.allelic if settings.allelic_weight else None
        allelic_loss = AllelicLoss(len(self.allelic.donor)) if self.allelic else None
        if self.allelic:
            self.data |= {
                "allelic_donor": torch.from_numpy(self.allelic.donor),
                "allelic_reads": torch.from_numpy(self.allelic.counts),
                "allelic_reference": torch.from_numpy(self.allelic.reference),
            }
        self.module = DiploidLegNet(
            network, loss, float(level.mean()), pretrained, allelic_loss, settings.allelic_weight
        )
        if pretrained:
            references = torch.from_numpy(cohort.codes[cohort.offsets[split.train_loci]])
            margin = settings.max_shift
            fit_head(network, references[:, margin : margin + width], level - level.mean())

    def training_settings(self) -> TrainingSettings:
        """Of a model that sees donors' genotypes the epoch may be chosen by differences between donors."""
        contrasts = self.settings.select == "contrasts" and self.settings.genotypes != "reference"
        return replace(
            super().training_settings(),
            average=self.settings.average,
            metric="between_loss" if contrasts else "loss",
        )

    def max_lr(self) -> float:
        return self.settings.max_lr or (0.0006 if self.settings.init is not None else 0.005)

    def parameter_groups(self, max_lr: float) -> ParameterGroups:
        """From input to head, rates falling by ``layer_decay`` a layer towards the input when the trunk is pretrained."""
        network = self.module.network
        layers = [network.stem, *network.blocks, network.mapper, network.head]
        decay = self.settings.layer_decay if self.settings.init is not None else 1.0
        frozen = self.settings.frozen_epochs if self.settings.init is not None else 0
        pull = self.settings.pull if self.settings.init is not None else 0.0
        groups: ParameterGroups = [
            {
                "params": list(layer.parameters()),
                "lr": max_lr * decay ** (len(layers) - 1 - depth),
                "frozen_epochs": frozen if depth < len(layers) - 1 else 0,
                "pull": pull,
                "weight_decay": 0.0 if pull else self.settings.weight_decay,
            }
            for depth, layer in enumerate(layers)
        ]
        dispersions = list(self.module.count_loss.parameters())
        if self.module.allelic_loss is not None:
            dispersions += self.module.allelic_loss.parameters()
        return [*groups, {"params": dispersions, "lr": 0.02, "weight_decay": 0.0}] if dispersions else groups

    def loci(self, examples: Tensor) -> Tensor:
        return self.data["train"][examples]

    def sequences(self, batch: Tensor) -> int:
        loci = self.loci(batch)
        return int((self.data["offsets"][loci + 1] - self.data["offsets"][loci]).sum())

    def _batch(self, loci: Tensor, augment: bool) -> tuple[Tensor, Tensor]:
        rows, local, place = self.rows(loci, self.data["offsets"])
        codes = self.view(self.data["codes"][rows], loci[place], augment)
        return codes, self.data["index"][loci] + local[:, None, None]

    def loss(self, module: nn.Module, batch: Tensor) -> Tensor:
        loci = self.loci(batch)
        return self._loss(module, loci, augment=True)

    def _loss(self, module: nn.Module, loci: Tensor, *, augment: bool) -> Tensor:
        allelic: tuple[Tensor, ...] = ()
        if self.allelic:
            allelic = (
                self.data["allelic_donor"], self.data["allelic_reads"][loci], self.data["allelic_reference"][loci],
            )  # fmt: skip
        data = self.data["counts"][loci], self.data["sizes"][loci]
        result: Tensor = module(*self._batch(loci, augment=augment), *data, *allelic)
        return result

    def validation_loss(self, module: nn.Module, loci: Tensor) -> Tensor:
        return self._loss(module, loci, augment=False)

    def rate_metrics(self, module: nn.Module, parts: Sequence[Tensor], rates: Sequence[Tensor]) -> dict[str, float]:
        """``between_loss``, the term of the loss about differences between donors, of the strands' mean rate."""
        assert isinstance(module, DiploidLegNet)
        between = [
            module.count_loss.terms(rate, self.data["counts"][part], self.data["sizes"][part])[1]
            for part, rate in zip(parts, rates, strict=True)
        ]
        return {"between_loss": float(torch.cat(between).mean())}

    def predict(self, module: nn.Module, loci: Tensor) -> Tensor:
        codes, index = self._batch(loci, augment=False)
        assert isinstance(module, DiploidLegNet)
        both = module.log_rate(torch.cat([codes, reverse_complement(codes)])).view(2, -1).mean(0)
        return diploid_log_rate(both, index)

    def finished(self) -> nn.Module:
        """The network alone, with the offset in the bias of its last layer."""
        last = self.module.network.head[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.bias.add_(self.module.offset)
        return self.module.network


class DiploidClipnet(nn.Module):
    """CLIPNET and its own loss over windows of donors as one module: tensors in, loss out."""

    def __init__(self, network: Clipnet, quantity_weight: float) -> None:
        super().__init__()
        self.network, self.quantity_weight = network, quantity_weight

    def forward(self, first: Tensor, second: Tensor, sample: Tensor, observed: Tensor) -> Tensor:
        """Mean over samples of the negative cosine of profiles plus the weighted squared error of log1p quantity.

        ``first`` and ``second`` ``[rows, width]`` are the two haplotypes of diplotypes, ``sample`` ``[n]`` the row of each
        sample (a window of a donor) and ``observed`` ``[n, outputs]`` its profile in RPM, whose sum is its quantity.
        """
        profile, quantity = self.network(Clipnet.encode(first, second))
        cosine = nn.functional.cosine_similarity(profile.float()[sample], observed, dim=1)
        error = (torch.log1p(quantity[sample]) - torch.log1p(observed.sum(dim=1))).square()
        return (self.quantity_weight * error - cosine).mean()


@torch.no_grad()
def start_quantity(network: Clipnet, level: NDArray[np.float64]) -> None:
    """Let the quantity head start at the targets' mean log1p RPM, and spread by a third of it on the raw scale.

    From Keras' zero it would climb there at the learning rate: thousands of steps, which a human cohort has in its first
    epoch and a small one never. With a wider spread many samples would start below zero, where the ReLU stops learning.
    """
    norm = network.quantity[1]
    assert isinstance(norm, nn.BatchNorm1d)
    middle = float(np.expm1(level.mean()))
    norm.bias.fill_(middle)
    norm.weight.fill_(middle / 3)


class ClipnetObjective(DiploidObjective):
    """CLIPNET on unphased two-hot sequence with its published loss, optimiser, batches and augmentation.

    A sample is a window of a donor, an example a sample in one orientation: an epoch passes each sample forward and
    reverse-complemented, moved by up to ``max_shift`` bp together with its profile. The authors moved each window once, when
    they made their data; here it is moved again in every epoch. ``profiles`` reach ``max_shift`` bp beyond the target.
    """

    module: DiploidClipnet

    def __init__(
        self,
        network: nn.Module,
        cohort: Cohort,
        split: Split,
        profiles: Profiles,
        width: int,
        settings: FinetuneSettings,
    ) -> None:
        super().__init__(cohort, split, width, settings)
        assert isinstance(network, Clipnet)
        self.module = DiploidClipnet(network, settings.quantity_weight)
        self.target_scale = CLIPNET_MEAN_RPM / float(cohort.rpm[split.train_loci].mean())
        if settings.init is None:
            start_quantity(network, np.log1p(cohort.rpm[split.train_loci] * self.target_scale))
        self.target, self.reach = cohort.target_width, cohort.target_width + 2 * settings.max_shift
        loci, donors = cohort.counts.shape
        samples = (split.train_loci[:, None] * donors + np.arange(donors)).ravel()
        self.learn_from(2 * samples.size, np.repeat(samples, 2))
        self.flip = torch.arange(self.units) % 2 == 1
        diplotypes = distinct_diplotypes(cohort)
        locus = np.repeat(np.arange(loci), np.diff(diplotypes.offsets))
        sample_of_entry = np.repeat(np.arange(loci), np.diff(profiles.offsets)) * donors + profiles.donor
        order = np.argsort(sample_of_entry, kind="stable")
        rpm = profiles.value / cohort.sizes[profiles.donor] * self.target_scale
        self.data |= {
            "pairs": torch.from_numpy(cohort.offsets[locus][:, None] + diplotypes.pairs),
            "pair_offsets": torch.from_numpy(diplotypes.offsets),
            "pair": torch.from_numpy(diplotypes.offsets[:-1, None] + diplotypes.index).reshape(-1),
            "entry_offsets": torch.from_numpy(
                np.concatenate([[0], np.cumsum(np.bincount(sample_of_entry, minlength=loci * donors))])
            ),
            "entry_position": torch.from_numpy(profiles.position[order].astype(np.int64)),
            "entry_rpm": torch.from_numpy(rpm[order].astype(np.float32)),
        }

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Move each example by up to ``max_shift`` bp; of a sample's two examples one is reverse-complemented."""
        most, device = self.settings.max_shift, self.data["codes"].device
        self.shift = torch.randint(-most, most + 1, (self.units,), generator=generator).to(device)
        self.flip = self.flip.to(device)

    def training_settings(self) -> TrainingSettings:
        """The published recipe; the network computes in float32, as Keras does."""
        settings = self.settings
        return replace(
            super().training_settings(),
            epochs=settings.clipnet_epochs,
            batch_size=settings.clipnet_batch,
            steps=settings.clipnet_steps,
            patience=settings.clipnet_patience,
            weight_decay=0.0,
            schedule="constant",
            warmup=0.0,
            clip=None,
            epsilon=1e-7,
            precision="fp32",
        )

    def max_lr(self) -> float:
        return self.settings.clipnet_lr

    def loci(self, examples: Tensor) -> Tensor:
        return self.data["train"][examples] // len(self.cohort.donors)

    def _observed(self, samples: Tensor, shift: Tensor, flip: Tensor) -> Tensor:
        """Profiles ``[n, outputs]`` of samples in RPM, as seen from windows that were moved and reverse-complemented."""
        entries, _, row = self.rows(samples, self.data["entry_offsets"])
        position, rpm = self.data["entry_position"][entries], self.data["entry_rpm"][entries]
        strand, base = position // self.reach, position % self.reach
        base = base - self.settings.max_shift - shift[row]
        place = strand * self.target + base
        # Reverse-complementing the sequence exchanges strands and reverses positions.
        place = torch.where(flip[row], 2 * self.target - 1 - place, place)
        inside = (base >= 0) & (base < self.target)
        observed = torch.zeros(len(samples), 2 * self.target, device=rpm.device)
        return observed.view(-1).index_add_(0, (row * 2 * self.target + place)[inside], rpm[inside]).view_as(observed)

    def loss(self, module: nn.Module, batch: Tensor) -> Tensor:
        samples = self.data["train"][batch]
        pairs = self.data["pairs"][self.data["pair"][samples]]
        first, second = (self.view(self.data["codes"][rows], batch, augment=True) for rows in pairs.T)
        observed = self._observed(samples, self.shift[batch], self.flip[batch])
        result: Tensor = module(first, second, torch.arange(len(batch), device=batch.device), observed)
        return result

    def _diplotypes(self, loci: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both haplotypes of the distinct diplotypes of loci, not augmented, and the row of each donor ``[locus, donor]``."""
        chosen, local = ranges(self.data["pair_offsets"], loci)
        first, second = (
            self.view(self.data["codes"][rows], chosen, augment=False) for rows in self.data["pairs"][chosen].T
        )
        pair = self.data["pair"].view(self.cohort.counts.shape)[loci]
        return first, second, pair - self.data["pair_offsets"][loci, None] + local[:, None]

    def validation_loss(self, module: nn.Module, loci: Tensor) -> Tensor:
        first, second, row = self._diplotypes(loci)
        samples = (loci[:, None] * row.shape[1] + torch.arange(row.shape[1], device=loci.device)).flatten()
        still = torch.zeros_like(samples)
        result: Tensor = module(first, second, row.flatten(), self._observed(samples, still, still.bool()))
        return result

    def predict(self, module: nn.Module, loci: Tensor) -> Tensor:
        first, second, row = self._diplotypes(loci)
        assert isinstance(module, DiploidClipnet)
        _, quantity = module.network(Clipnet.encode(first, second))
        _, reverse = module.network(Clipnet.encode(reverse_complement(first), reverse_complement(second)))
        return log_quantity(quantity, reverse)[row] - float(np.log(self.target_scale))

    def finished(self) -> nn.Module:
        return self.module.network
