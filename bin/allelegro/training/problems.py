"""What LegNet and CLIPNET learn from loci × donors × distinct haplotypes, as problems for the training engine."""

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from allelegro.models.checkpoint import QUANTITY_PSEUDOCOUNT
from allelegro.models.clipnet import Clipnet
from allelegro.models.encoding import reverse_complement
from allelegro.models.legnet import LegNet
from allelegro.training.diploid import Cohort, Profiles, Split, diploid_log_rate, distinct_diplotypes, ranges
from allelegro.training.engine import Groups, Problem, Settings
from allelegro.training.loss import CountLoss
from allelegro.training.probe import fit_head
from allelegro.training.statistics import pearson

# CLIPNET was made for human libraries, where a window holds some tens of RPM. A small genome has few windows, each with a
# larger share of all reads, so its targets are scaled to this mean before CLIPNET sees them.
CLIPNET_MEAN_RPM = 20.0
CLIPNET_QUANTITY_WEIGHT = 1 / 500


@dataclass(frozen=True)
class Options:
    """What to fine-tune and how; the command line's options of the same names."""

    model: str = "legnet"
    genotypes: str = "personal"
    init: Path | None = None
    preset: str = "published"
    input_width: int | None = None
    target_width: int = 500
    max_shift: int = 5
    test_fold: int = 0
    validation_fold: int = 1
    test_donors: tuple[str, ...] = ()
    test_donor_fraction: float = 0.2
    split_seed: int = 0
    loss: str = "nb"
    between_weight: float = 1.0
    epochs: int = 20
    batch_loci: int = 32
    max_lr: float | None = None
    layer_decay: float = 0.7
    frozen_epochs: int = 0
    weight_decay: float = 0.05
    patience: int = 10
    seed: int = 0


class DiploidProblem(Problem):
    """What both models share: a batch holds whole loci, each distinct sequence passes once, donors gather.

    The module's forward takes tensors only and returns the loss of the batch, so that it can be compiled and distributed.
    """

    target_scale = 1.0

    def __init__(self, cohort: Cohort, split: Split, width: int, options: Options) -> None:
        self.cohort, self.split, self.width, self.options = cohort, split, width, options
        self.examples = len(split.train_loci)
        self.shift = torch.zeros(len(cohort.windows), dtype=torch.int64)
        self.flip = torch.zeros(len(cohort.windows), dtype=torch.bool)
        self.data = {
            "codes": torch.from_numpy(cohort.codes),
            "offsets": torch.from_numpy(cohort.offsets),
            "index": torch.from_numpy(cohort.index),
            "counts": torch.from_numpy(cohort.counts.astype(np.float32)),
            "sizes": torch.from_numpy(cohort.sizes.astype(np.float32)),
            "train": torch.from_numpy(split.train_loci),
        }

    def to(self, device: torch.device) -> None:
        self.module.to(device)
        self.data = {name: tensor.to(device) for name, tensor in self.data.items()}

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Turn half of the loci round and shift each by up to ``max_shift`` bp; haplotypes of a locus move together."""
        loci, most = len(self.cohort.windows), self.options.max_shift
        device = self.data["codes"].device
        self.flip = (torch.rand(loci, generator=generator) < 0.5).to(device)
        self.shift = torch.randint(-most, most + 1, (loci,), generator=generator).to(device)

    def sequences(self, batch: Tensor) -> int:
        loci = self.data["train"][batch]
        return int((self.data["offsets"][loci + 1] - self.data["offsets"][loci]).sum())

    def describe(self, batch: Tensor) -> str:
        names = self.cohort.windows["name"].iloc[self.data["train"][batch].cpu().numpy()]
        return f"windows {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.cohort.checksums, asdict(self.options))).encode())
        for value in self.module.state_dict().values():
            digest.update(value.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()

    def settings(self) -> Settings:
        """How to optimise this problem."""
        options = self.options
        return Settings(
            epochs=options.epochs,
            batch_size=options.batch_loci,
            max_lr=options.max_lr or self.default_lr(),
            weight_decay=options.weight_decay,
            metric="loss",
            maximise=False,
            patience=options.patience,
            seed=options.seed,
        )

    def default_lr(self) -> float:
        """Peak learning rate when the user gives none."""
        raise NotImplementedError

    def finished(self) -> nn.Module:
        """The network as it is stored, after training."""
        raise NotImplementedError

    def view(self, loci: Tensor, codes: Tensor, locus_of_row: Tensor, augment: bool) -> Tensor:
        """``codes`` ``[rows, span]`` as the network sees them, ``[rows, width]``: shifted and turned round per locus."""
        margin = (codes.shape[1] - self.width) // 2
        if not augment:
            return codes[:, margin : margin + self.width]
        start = self.shift[loci][locus_of_row] + margin
        column = start[:, None] + torch.arange(self.width, device=codes.device)
        shifted = codes.gather(1, column)
        return torch.where(self.flip[loci][locus_of_row, None], reverse_complement(shifted), shifted)

    def rows(self, loci: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of the loci in one list, where each locus starts in it, and the locus (0, 1, …) of each row."""
        rows, local = ranges(offsets, loci)
        lengths = offsets[loci + 1] - offsets[loci]
        return rows, local, torch.repeat_interleave(torch.arange(len(loci), device=loci.device), lengths)

    def predict(self, module: nn.Module, loci: Tensor) -> Tensor:
        """Log RPM ``[locus, donor]`` of training donors, both strands averaged."""
        raise NotImplementedError

    def validation_loss(self, module: nn.Module, loci: Tensor) -> Tensor:
        """The training loss on a batch of loci, not augmented."""
        raise NotImplementedError

    def validate(self, module: nn.Module) -> dict[str, float]:
        loci = torch.from_numpy(self.split.validation_loci).to(self.data["codes"].device)
        parts = torch.split(loci, self.options.batch_loci)
        losses = [float(self.validation_loss(module, part)) * len(part) for part in parts]
        predicted = torch.cat([self.predict(module, part) for part in parts]).float().exp().cpu().numpy()
        return {"loss": sum(losses) / len(loci), **quick_metrics(self.cohort, self.split.validation_loci, predicted)}


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

    def __init__(self, network: LegNet, count_loss: CountLoss, offset: float, hold_norms: bool) -> None:
        super().__init__()
        self.network, self.count_loss, self.hold_norms = network, count_loss, hold_norms
        self.register_buffer("offset", torch.tensor(offset))

    def train(self, mode: bool = True) -> "DiploidLegNet":
        """Training mode, but for normalisation statistics that are held: batches of few loci would make them jump."""
        super().train(mode)
        if self.hold_norms:
            for layer in self.network.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()
        return self

    def forward(self, codes: Tensor, index: Tensor, counts: Tensor, sizes: Tensor) -> Tensor:
        """Loss of loci: ``codes`` ``[rows, width]``, ``index`` ``[locus, donor, 2]``, ``counts`` ``[locus, donor]``."""
        loss: Tensor = self.count_loss(diploid_log_rate(self.log_rate(codes), index), counts, sizes)
        return loss.float()

    def log_rate(self, codes: Tensor) -> Tensor:
        """Natural logarithm of the RPM of haplotypes ``[rows]``."""
        result: Tensor = self.network(LegNet.encode(codes)).float() + self.offset
        return result


class LegNetProblem(DiploidProblem):
    """LegNet as a haplotype's log rate under a count likelihood."""

    module: DiploidLegNet

    def __init__(self, network: nn.Module, cohort: Cohort, split: Split, width: int, options: Options) -> None:
        super().__init__(cohort, split, width, options)
        assert isinstance(network, LegNet)
        level = np.log((cohort.counts[split.train_loci].sum(axis=1) + 0.5) / cohort.sizes.sum())
        pretrained = options.init is not None
        loss = CountLoss(options.loss, options.between_weight)
        self.module = DiploidLegNet(network, loss, float(level.mean()), hold_norms=pretrained)
        if pretrained:
            references = torch.from_numpy(cohort.codes[cohort.offsets[split.train_loci]])
            margin = options.max_shift
            fit_head(network, references[:, margin : margin + width], level - level.mean())

    def default_lr(self) -> float:
        return 0.0005 if self.options.init is not None else 0.005

    def parameter_groups(self, max_lr: float) -> Groups:
        """From input to head, rates falling by ``layer_decay`` a layer towards the input when the trunk is pretrained."""
        network = self.module.network
        layers = [network.stem, *network.blocks, network.mapper, network.head]
        decay = self.options.layer_decay if self.options.init is not None else 1.0
        frozen = self.options.frozen_epochs if self.options.init is not None else 0
        groups: Groups = [
            {
                "params": list(layer.parameters()),
                "lr": max_lr * decay ** (len(layers) - 1 - depth),
                "frozen_epochs": frozen if depth < len(layers) - 1 else 0,
            }
            for depth, layer in enumerate(layers)
        ]
        dispersions = list(self.module.count_loss.parameters())
        return [*groups, {"params": dispersions, "lr": 0.02}] if dispersions else groups

    def _batch(self, loci: Tensor, augment: bool) -> tuple[Tensor, Tensor]:
        rows, local, locus_of_row = self.rows(loci, self.data["offsets"])
        codes = self.view(loci, self.data["codes"][rows], locus_of_row, augment)
        return codes, self.data["index"][loci] + local[:, None, None]

    def loss(self, module: nn.Module, batch: Tensor) -> Tensor:
        loci = self.data["train"][batch]
        result: Tensor = module(*self._batch(loci, augment=True), self.data["counts"][loci], self.data["sizes"])
        return result

    def validation_loss(self, module: nn.Module, loci: Tensor) -> Tensor:
        result: Tensor = module(*self._batch(loci, augment=False), self.data["counts"][loci], self.data["sizes"])
        return result

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
    """CLIPNET and its own loss over distinct diplotypes as one module: tensors in, loss out."""

    def __init__(self, network: Clipnet) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, first: Tensor, second: Tensor, sample: Tensor, rpm: Tensor, place: Tensor, share: Tensor
    ) -> Tensor:
        """Negative cosine of profiles plus squared error of log1p quantity / 500, the mean over loci and donors.

        ``first`` and ``second`` ``[rows, width]`` are the two haplotypes of each distinct diplotype, ``sample``
        ``[locus, donor]`` the row of each donor, ``rpm`` ``[locus, donor]`` their quantities. A cosine is linear in the
        observed unit profile, so those of all donors with one diplotype are summed before comparing: entry ``share`` at
        ``place`` (row · outputs + output).
        """
        profile, quantity = self.network(Clipnet.encode(first, second))
        direction = nn.functional.normalize(profile.float(), dim=1)
        observed = torch.zeros_like(direction).view(-1).index_add(0, place, share).view_as(direction)
        cosine = (direction * observed).sum() / sample.numel()
        error = (torch.log1p(quantity.float()[sample]) - torch.log1p(rpm)).square().mean()
        return CLIPNET_QUANTITY_WEIGHT * error - cosine


@torch.no_grad()
def start_quantity(network: Clipnet, rpm: NDArray[np.float64]) -> None:
    """Let the quantity head start at the targets' mean and spread.

    From Keras' zero it would climb there at the learning rate: thousands of steps, which a human cohort has in its first
    epoch and a small one never.
    """
    norm = network.quantity[1]
    assert isinstance(norm, nn.BatchNorm1d)
    norm.bias.fill_(float(rpm.mean()))
    norm.weight.fill_(float(rpm.std()))


class ClipnetProblem(DiploidProblem):
    """CLIPNET on unphased two-hot sequence with its published loss, optimiser and augmentation."""

    module: DiploidClipnet

    def __init__(
        self, network: nn.Module, cohort: Cohort, split: Split, profiles: Profiles, width: int, options: Options
    ) -> None:
        super().__init__(cohort, split, width, options)
        assert isinstance(network, Clipnet)
        self.module = DiploidClipnet(network)
        self.target_scale = CLIPNET_MEAN_RPM / float(cohort.rpm[split.train_loci].mean())
        if options.init is None:
            start_quantity(network, cohort.rpm[split.train_loci] * self.target_scale)
        self.outputs = 2 * cohort.target_width
        pairs = distinct_diplotypes(cohort)
        entry_locus = np.repeat(np.arange(len(cohort.windows)), np.diff(profiles.offsets))
        sample = entry_locus * len(cohort.donors) + profiles.donor
        length = np.sqrt(np.bincount(sample, profiles.value.astype(np.float64) ** 2, cohort.counts.size))
        self.data |= {
            "pairs": torch.from_numpy(pairs.pairs),
            "pair_offsets": torch.from_numpy(pairs.offsets),
            "pair_index": torch.from_numpy(pairs.index),
            "rpm": torch.from_numpy((cohort.rpm * self.target_scale).astype(np.float32)),
            "entry_offsets": torch.from_numpy(profiles.offsets),
            "entry_donor": torch.from_numpy(profiles.donor.astype(np.int64)),
            "entry_place": torch.from_numpy(profiles.position.astype(np.int64)),
            "entry_share": torch.from_numpy((profiles.value / length[sample]).astype(np.float32)),
        }

    def settings(self) -> Settings:
        return replace(super().settings(), weight_decay=0.0, schedule="constant", warmup=0.02)

    def default_lr(self) -> float:
        return 0.001

    def sequences(self, batch: Tensor) -> int:
        loci = self.data["train"][batch]
        return int((self.data["pair_offsets"][loci + 1] - self.data["pair_offsets"][loci]).sum())

    def _batch(self, loci: Tensor, augment: bool) -> tuple[Tensor, Tensor, Tensor]:
        rows, local, locus_of_row = self.rows(loci, self.data["pair_offsets"])
        members = self.data["pairs"][rows] + self.data["offsets"][loci][locus_of_row, None]
        first, second = (
            self.view(loci, self.data["codes"][members[:, side]], locus_of_row, augment) for side in (0, 1)
        )
        return first, second, self.data["pair_index"][loci] + local[:, None]

    def _loss(self, module: nn.Module, loci: Tensor, augment: bool) -> Tensor:
        first, second, sample = self._batch(loci, augment)
        entries, _, locus = self.rows(loci, self.data["entry_offsets"])
        place = self.data["entry_place"][entries]
        if augment:
            # Turning the sequence round exchanges strands and reverses positions.
            place = torch.where(self.flip[loci][locus], self.outputs - 1 - place, place)
        row = sample[locus, self.data["entry_donor"][entries]]
        result: Tensor = module(
            first, second, sample, self.data["rpm"][loci], row * self.outputs + place, self.data["entry_share"][entries]
        )
        return result

    def loss(self, module: nn.Module, batch: Tensor) -> Tensor:
        return self._loss(module, self.data["train"][batch], augment=True)

    def validation_loss(self, module: nn.Module, loci: Tensor) -> Tensor:
        return self._loss(module, loci, augment=False)

    def predict(self, module: nn.Module, loci: Tensor) -> Tensor:
        first, second, sample = self._batch(loci, augment=False)
        assert isinstance(module, DiploidClipnet)
        quantities = [
            module.network(Clipnet.encode(*pair))[1].float()
            for pair in ((first, second), (reverse_complement(first), reverse_complement(second)))
        ]
        logs = [torch.log(quantity + QUANTITY_PSEUDOCOUNT) for quantity in quantities]
        return torch.stack(logs).mean(0)[sample] - float(np.log(self.target_scale))

    def finished(self) -> nn.Module:
        return self.module.network
