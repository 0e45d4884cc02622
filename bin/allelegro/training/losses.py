"""Likelihoods of counts of donors at loci, split into how much a locus makes and how donors share it."""

import torch
from torch import Tensor, nn

from allelegro.errors import DataError


class CountLoss(nn.Module):
    """How well predicted log means explain counts ``[locus, donor]``: a locus term plus a between-donor term.

    A Poisson likelihood of independent donors is exactly the likelihood of the locus total times the multinomial of how
    the total is shared among donors. ``poisson`` is that product; ``nb`` replaces its factors by their overdispersed
    forms, a negative binomial total (what the model cannot explain between loci) and a Dirichlet-multinomial share
    (biological noise between donors), with both dispersions fitted along with the weights. ``mse`` takes squared errors
    of log1p RPM, of locus means and of deviations from them. ``between_weight`` multiplies the second term; 1 is the
    likelihood itself.
    """

    KINDS = ("poisson", "nb", "mse")

    def __init__(self, kind: str, between_weight: float) -> None:
        super().__init__()
        if kind not in self.KINDS:
            raise DataError(f"--loss {kind} is unknown; one of {', '.join(self.KINDS)}")
        self.kind, self.between_weight = kind, between_weight
        # Between loci, between donors. Distributed training waits for the gradient of every parameter that wants one.
        self.log_dispersion = nn.Parameter(torch.tensor([0.0, -2.0]), requires_grad=kind == "nb")

    def forward(self, log_rate: Tensor, counts: Tensor, sizes: Tensor) -> Tensor:
        """Mean loss of a locus; ``log_rate`` ``[locus, donor]`` in log RPM, ``sizes`` ``[donor]`` or ``[locus, donor]`` in 10⁶ reads."""
        locus, between = self.terms(log_rate, counts, sizes)
        return (locus + self.between_weight * between).mean()

    def terms(self, log_rate: Tensor, counts: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """The locus term and the between-donor term of each locus, ``[locus]`` both."""
        log_rate, counts, sizes = log_rate.double(), counts.double(), sizes.double()
        if self.kind == "mse":
            error = torch.log1p(counts / sizes) - torch.log1p(log_rate.exp())
            level = error.mean(dim=1)
            between = (error - level[:, None]).square().mean(dim=1)
            return level.square(), between
        log_mean = log_rate + sizes.log()
        log_total = log_mean.logsumexp(dim=1)
        share = log_mean - log_total[:, None]
        total = counts.sum(dim=1)
        if self.kind == "poisson":
            locus = log_total.exp() - total * log_total + torch.lgamma(total + 1)
            between = torch.lgamma(counts + 1).sum(dim=1) - torch.lgamma(total + 1) - (counts * share).sum(dim=1)
        else:
            size, donor_size = (-self.log_dispersion.double()).exp()
            locus = negative_binomial(total, log_total, size)
            between = dirichlet_multinomial(counts, share.exp() * (donor_size * counts.shape[1]))
        return locus, between


class AllelicLoss(nn.Module):
    """How well two haplotypes' log rates explain which of them a donor's allelic reads came from: a beta-binomial.

    The share of haplotype 0 has the logit ``f(h0) - f(h1) + bias * reference``. ``bias`` is each library's preference for
    reference bases and the concentration one for all; both are fitted along with the weights.
    """

    def __init__(self, libraries: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(libraries))
        self.log_concentration = nn.Parameter(torch.tensor(4.0))

    def forward(self, pair: Tensor, reads: Tensor, reference: Tensor) -> Tensor:
        """Negative log likelihood, summed over libraries, of a mean locus.

        ``pair`` are log rates and ``reads`` counts, ``[locus, library, 2]``; ``reference`` ``[locus, library]``.
        """
        pair, reads = pair.double(), reads.double()
        logit = pair[..., 0] - pair[..., 1] + self.bias.double() * reference.double()
        share = torch.stack([torch.sigmoid(logit), torch.sigmoid(-logit)], dim=-1)
        # No share so small that a single read of a misjudged haplotype decides everything.
        concentration = self.log_concentration.double().exp() * share.clamp(min=1e-4)
        return dirichlet_multinomial(reads, concentration).sum(dim=1).mean()


def negative_binomial(counts: Tensor, log_mean: Tensor, size: Tensor) -> Tensor:
    """Negative log likelihood with variance ``mean + mean² / size``."""
    log_size = size.log()
    log_both = torch.logaddexp(log_mean, log_size)
    choices = torch.lgamma(counts + size) - torch.lgamma(size) - torch.lgamma(counts + 1)
    return counts * (log_both - log_mean) + size * (log_both - log_size) - choices


def dirichlet_multinomial(counts: Tensor, concentration: Tensor) -> Tensor:
    """Negative log likelihood of ``counts`` given their sum over the last axis."""
    total, strength = counts.sum(-1), concentration.sum(-1)
    whole = torch.lgamma(total + strength) - torch.lgamma(strength) - torch.lgamma(total + 1)
    parts = torch.lgamma(counts + concentration) - torch.lgamma(concentration) - torch.lgamma(counts + 1)
    return whole - parts.sum(-1)
