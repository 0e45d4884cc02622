"""Loci × donors × distinct haplotypes: the data and the diploid rate that fine-tuning shares with evaluation.

A donor's expected count at a locus is the mean over the two haplotypes on the raw scale, times the library size:
``log rate = log(½ (exp f(h1) + exp f(h2))) + log size``. Haplotypes are kept once per locus; donors gather from them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from allelegro.errors import DataError
from allelegro.intervals import concatenated_ranges
from allelegro.io.dna import encode
from allelegro.models.seen import Seen

if TYPE_CHECKING:
    from allelegro.genotype.store import HaplotypeStore
    from allelegro.procap.counts import CountsStore

log = logging.getLogger(__name__)

GENOTYPES = ("personal", "reference", "shuffled")
LN2 = float(np.log(2))


@dataclass(frozen=True)
class Profiles:
    """Base-resolution counts in the target, sorted by locus: entries of locus w are ``offsets[w]:offsets[w + 1]``.

    ``position`` runs over the plus strand, then the minus strand (``strand * width + base``).
    """

    offsets: NDArray[np.int64]
    donor: NDArray[np.int32]
    position: NDArray[np.int32]
    value: NDArray[np.float32]


@dataclass(frozen=True)
class AllelicReads:
    """Reads of each library that say which haplotype they came from.

    ``counts`` float32 ``[locus, library, 2]``, both strands; ``reference`` float32 ``[locus, library]``, how a preference for
    reference bases moves the first haplotype (CountsStore.allelic); ``donor`` ``[library]`` the donor's place in the cohort.
    """

    counts: NDArray[np.float32]
    reference: NDArray[np.float32]
    donor: NDArray[np.int64]

    def of(self, donors: NDArray[np.int64]) -> "AllelicReads":
        """Those of the libraries of some donors."""
        kept = np.flatnonzero(np.isin(self.donor, donors))
        place = np.full(int(max(self.donor.max(initial=0), donors.max(initial=0))) + 1, -1)
        place[donors] = np.arange(len(donors))
        return AllelicReads(self.counts[:, kept], self.reference[:, kept], place[self.donor[kept]])


@dataclass(frozen=True)
class Cohort:
    """What one model learns from: counts of donors at loci, and the distinct haplotypes of each locus.

    ``codes`` uint8 ``[rows, span]`` (central ``span`` bp), rows of locus w are ``offsets[w]:offsets[w + 1]``, the first
    being the reference; ``index`` ``[locus, donor, 2]`` row within the locus; ``counts`` ``[locus, donor]``, both
    strands and all libraries of a donor summed over the central ``target_width`` bp; ``sizes`` ``[donor]`` library sizes
    in millions of reads, or ``[locus, donor]`` where hidden factors act on a donor's loci; ``allelic`` the reads that tell haplotypes apart, where there are any.
    """

    windows: pd.DataFrame
    donors: list[str]
    codes: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    index: NDArray[np.int64]
    counts: NDArray[np.int64]
    sizes: NDArray[np.float64]
    target_width: int
    checksums: dict[str, str]
    allelic: AllelicReads | None = None

    @property
    def span(self) -> int:
        """Width of the stored sequences in bp."""
        return int(self.codes.shape[1])

    @property
    def locus_sizes(self) -> NDArray[np.float64]:
        """Library sizes ``[locus, donor]``."""
        return np.array(np.broadcast_to(self.sizes, self.counts.shape))

    @property
    def rpm(self) -> NDArray[np.float64]:
        """Counts per million reads, ``[locus, donor]``."""
        return self.counts / self.sizes


@dataclass(frozen=True)
class Split:
    """Rows of loci and donors by role; the same for every model that is compared."""

    train_loci: NDArray[np.int64]
    validation_loci: NDArray[np.int64]
    test_loci: NDArray[np.int64]
    train_donors: NDArray[np.int64]
    test_donors: NDArray[np.int64]


def load_cohort(
    counts: Path,
    haplotypes: Path,
    span: int,
    target_width: int,
    *,
    donors: Sequence[str] | None = None,
    snvs_only: bool = False,
) -> Cohort:
    """Join a counts store and a haplotype store on loci and donors.

    ``span`` is how much sequence to keep around the centre, ``target_width`` how much of the counts (bp). ``donors``
    fixes which donors and in which order; by default all that have libraries, sorted by name. The libraries of a donor
    are summed: under a Poisson likelihood their sum is sufficient, and their sizes add up. ``snvs_only`` builds each
    haplotype of its single-nucleotide alleles alone, whatever the store keeps (see :func:`without_indels`).
    Raises DataError when the stores come from different windows, a donor has no haplotypes, or a width does not fit.
    """
    return cohort_of(*open_stores(counts, haplotypes), span, target_width, donors=donors, snvs_only=snvs_only)


def open_stores(counts: Path, haplotypes: Path) -> "tuple[CountsStore, HaplotypeStore]":
    """Both stores, compared with what they recorded (which reads them once); DataError where their windows differ."""
    from allelegro.genotype.store import HaplotypeStore
    from allelegro.procap.counts import CountsStore

    signal, sequences = CountsStore.open(counts, verify=True), HaplotypeStore(haplotypes, verify=True)
    if signal.checksum("windows.bed") != sequences.checksum("windows.bed"):
        raise DataError(
            f"{counts}/windows.bed and {haplotypes}/windows.bed differ: counts and haplotypes come from different "
            "windows; make both stores from one windows.bed"
        )
    return signal, sequences


def cohort_of(
    signal: "CountsStore",
    sequences: "HaplotypeStore",
    span: int,
    target_width: int,
    *,
    donors: Sequence[str] | None = None,
    snvs_only: bool = False,
) -> Cohort:
    """As :func:`load_cohort`, of stores that are open."""
    from allelegro.procap.counts import library_sizes

    counts, haplotypes = signal.path, sequences.folder
    if span > sequences.width:
        raise DataError(
            f"{haplotypes}: windows are {sequences.width} bp, the model with its shifts wants {span} bp; "
            "lower --input-width or --max-shift, or make wider windows"
        )
    if target_width > signal.width:
        raise DataError(f"{counts}: windows are {signal.width} bp, narrower than --target-width {target_width}")
    people = list(donors) if donors is not None else sorted(signal.libraries["donor"].astype(str).unique())
    without = [donor for donor in people if donor not in set(sequences.donors)]
    if without:
        raise DataError(
            f"{haplotypes}: no haplotypes for {len(without)} of {len(people)} donors with libraries in {counts} "
            f"({', '.join(without[:5])}{', …' if len(without) > 5 else ''}); "
            "add them to the VCF or leave their libraries out of the sheet"
        )
    column = {donor: i for i, donor in enumerate(sequences.donors)}
    places = np.array([column[donor] for donor in people])
    codes, offsets, index = _distinct_crops(sequences, places, span, snvs_only)
    per_library = signal.counts(target_width).sum(axis=2)
    member = signal.libraries["donor"].astype(str).to_numpy()[:, None] == np.array(people)[None]
    if (signal.windows["fold"] < 0).any():
        raise DataError(
            f"{counts}/windows.bed has no folds, which training needs; prepare_windows.py gives the windows of any BED folds"
        )
    checksums = {name: signal.checksum(name) for name in ("windows.bed", "counts.npy")}
    checksums |= {name: sequences.checksum(name) for name in ("sequences.npy", "index.npy")}
    if (counts / "allelic.npy").is_file():
        checksums["allelic.npy"] = signal.checksum("allelic.npy")
    return Cohort(
        windows=signal.windows.reset_index(drop=True),
        donors=people,
        codes=codes,
        offsets=offsets,
        index=index,
        counts=per_library @ member.astype(np.int64),
        sizes=library_sizes(signal.libraries) @ member,
        target_width=target_width,
        checksums=checksums,
        allelic=_allelic_reads(signal, people),
    )


def _allelic_reads(signal: "CountsStore", donors: Sequence[str]) -> AllelicReads | None:
    found = signal.allelic()
    if found is None:
        return None
    owner = pd.Index(donors).get_indexer(pd.Index(signal.libraries["donor"].astype(str)))
    reads = AllelicReads(found[0].sum(axis=2).astype(np.float32), found[1], owner.astype(np.int64))
    return reads if reads.counts.any() else None


def room_for_jitter(counts: Path, haplotypes: Path, width: int, target_width: int) -> int:
    """By how many bp a window of ``width`` bp and its target can move within what the stores hold."""
    from allelegro.genotype.store import HaplotypeStore
    from allelegro.procap.counts import CountsStore

    sequence, signal = HaplotypeStore(haplotypes).width, CountsStore.open(counts).width
    return max(0, min(sequence - width, signal - target_width) // 2)


def load_profiles(counts: Path, cohort: Cohort, width: int | None = None) -> Profiles:
    """The profiles behind a cohort's counts, libraries of a donor summed, in the central ``width`` bp (default: the target's)."""
    from allelegro.procap.counts import CountsStore

    store = CountsStore.open(counts)
    store.require_profiles()
    loci, donors, width = len(store.windows), len(cohort.donors), width or cohort.target_width
    found = store.entries(np.arange(loci))
    base = found.base - (store.width - width) // 2
    donor = pd.Index(cohort.donors).get_indexer(pd.Index(store.libraries["donor"]))[found.library]
    kept = (base >= 0) & (base < width) & (donor >= 0)
    key = ((found.window * donors + donor) * 2 + found.strand) * width + base
    value = found.reads.astype(np.float64)
    distinct, inverse = np.unique(key[kept], return_inverse=True)
    locus, rest = np.divmod(distinct, donors * 2 * width)
    return Profiles(
        offsets=np.concatenate([[0], np.cumsum(np.bincount(locus, minlength=loci))]),
        donor=(rest // (2 * width)).astype(np.int32),
        position=(rest % (2 * width)).astype(np.int32),
        value=np.bincount(inverse, value[kept], minlength=len(distinct)).astype(np.float32),
    )


def _distinct_crops(
    store: "HaplotypeStore", donors: NDArray[np.intp], span: int, snvs_only: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Central ``span`` bp of the haplotypes that ``donors`` carry, each distinct one once per locus, reference first.

    Narrower sequences differ less: most haplotypes of a 1-kb window are the same in its central 230 bp.
    """
    rows, offsets, index = _carried(
        np.asarray(store.offsets, dtype=np.int64), np.asarray(store.index[:, donors], dtype=np.int64)
    )
    first = (store.width - span) // 2
    crops = np.ascontiguousarray(store.sequences[rows, first : first + span])
    if snvs_only:
        crops = without_indels(store, rows, offsets, crops)
    locus = np.repeat(np.arange(len(offsets) - 1, dtype=np.uint32), np.diff(offsets))
    keyed = np.concatenate([locus[:, None].view(np.uint8), crops], axis=1)
    _, representative, group = np.unique(
        keyed.view(np.dtype((np.void, keyed.shape[1]))).ravel(), return_index=True, return_inverse=True
    )
    order = np.argsort(representative)  # loci in order, and within a locus the reference (its first row) first
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    kept = representative[order]
    distinct = np.concatenate([[0], np.cumsum(np.bincount(locus[kept], minlength=len(offsets) - 1))])
    return crops[kept], distinct, rank[group][offsets[:-1, None, None] + index] - distinct[:-1, None, None]


def without_indels(
    store: "HaplotypeStore", rows: NDArray[np.int64], offsets: NDArray[np.int64], crops: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Central crops ``[rows, span]`` of a store's ``rows`` with their single-nucleotide alleles alone on the reference.

    ``offsets`` say which rows belong to a locus, its reference first. An indel would move all that follows it, and
    where two haplotypes are added up (two-hot), every base after it would look like a heterozygote. SNVs inside a
    deletion of the same haplotype are not in the store; there the reference stays.
    """
    if not store.names_alleles:
        return crops
    variants = store.variants
    single = ((variants["end"] - variants["start"] == 1) & (variants["bases"].str.len() == 1)).to_numpy(bool)
    first, sizes = store.allele_offsets[rows], store.allele_offsets[rows + 1] - store.allele_offsets[rows]
    allele = np.asarray(store.alleles[concatenated_ranges(first, sizes)], np.int64)
    owner = np.repeat(np.arange(len(rows)), sizes)
    rebuilt = np.bincount(owner[~single[allele]], minlength=len(rows)) > 0
    locus = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    crops[rebuilt] = crops[offsets[:-1][locus[rebuilt]]]
    mine = rebuilt[owner] & single[allele]
    owner, allele = owner[mine], allele[mine]
    margin = (store.width - crops.shape[1]) // 2
    place = variants["start"].to_numpy(np.int64)[allele] - store.starts[locus[owner]] - margin
    inside = (place >= 0) & (place < crops.shape[1])
    bases = encode("".join(variants["bases"].iloc[allele[inside]]))
    crops[owner[inside], place[inside]] = bases
    return crops


def _carried(
    offsets: NDArray[np.int64], index: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The rows of each locus that ``index`` uses, and its reference row: those rows, their offsets and a new index."""
    row = offsets[:-1, None, None] + index
    used = np.zeros(offsets[-1], bool)
    used[offsets[:-1]] = True
    used[row] = True
    before = np.concatenate([[0], np.cumsum(used)])
    kept = before[offsets]
    return np.flatnonzero(used), kept, before[row] - kept[:-1, None, None]


def for_donors(cohort: Cohort, donors: NDArray[np.int64]) -> Cohort:
    """The cohort of these donors alone (rows of ``cohort.donors``), without the haplotypes that none of them carries."""
    rows, offsets, index = _carried(cohort.offsets, cohort.index[:, donors])
    return replace(
        cohort,
        donors=[cohort.donors[i] for i in donors],
        codes=cohort.codes[rows],
        offsets=offsets,
        index=index,
        counts=cohort.counts[:, donors],
        sizes=cohort.sizes[donors],
        allelic=cohort.allelic.of(donors) if cohort.allelic else None,
    )


def make_split(
    cohort: Cohort,
    test_fold: int,
    validation_fold: int,
    *,
    test_donors: Sequence[str] = (),
    test_donor_fraction: float = 0.2,
    seed: int = 0,
    families: Mapping[str, int] | None = None,
) -> Split:
    """Loci by fold, donors by person: ``test_donors`` when named, else a random fraction by ``seed`` of the sorted names.

    Donors of one of the ``families`` stay on one side of a draw: a relative's genome would not be unseen. Raises DataError for a fold without windows, equal test and validation folds, or unknown test donors.
    """
    folds = cohort.windows["fold"].to_numpy()
    present = ", ".join(str(fold) for fold in sorted(set(folds.tolist())))
    if test_fold == validation_fold:
        raise DataError(f"fold {test_fold} is both --test-fold and --validation-fold; choose two")
    for option, fold in (("--test-fold", test_fold), ("--validation-fold", validation_fold)):
        if fold not in folds:
            raise DataError(f"windows.bed: no window is in fold {fold} ({option}); folds present: {present}")
    roles = [folds == test_fold, folds == validation_fold]
    train = ~(roles[0] | roles[1])
    if not train.any():
        raise DataError(f"windows.bed: folds {present} are all held out; training needs a third fold")
    names = sorted(cohort.donors)
    unknown = sorted(set(test_donors) - set(names))
    if unknown:
        raise DataError(f"test donor {unknown[0]} (--test-donors) has no libraries; donors start with {names[0]}")
    family = families or {donor: place for place, donor in enumerate(names)}
    held_out = set(test_donors) or _draw_donors(names, round(test_donor_fraction * len(names)), seed, family)
    split_up = {family[donor] for donor in held_out} & {family[donor] for donor in names if donor not in held_out}
    if split_up:
        relatives = ", ".join(donor for donor in names if family[donor] in split_up)
        log.warning("%s are related, and some of them are in training: the others are not unseen genomes", relatives)
    is_test = np.array([donor in held_out for donor in cohort.donors])
    if is_test.all():
        raise DataError("every donor is held out for testing; lower --test-donor-fraction or name fewer --test-donors")
    return Split(
        train_loci=np.flatnonzero(train),
        validation_loci=np.flatnonzero(roles[1]),
        test_loci=np.flatnonzero(roles[0]),
        train_donors=np.flatnonzero(~is_test),
        test_donors=np.flatnonzero(is_test),
    )


def _draw_donors(names: Sequence[str], wanted: int, seed: int, family: Mapping[str, int]) -> set[str]:
    """At most ``wanted`` donors in random order, each with all of its family; a family that is too large is passed over."""
    drawn: set[str] = set()
    for place in np.random.default_rng(seed).permutation(len(names)):
        members = {donor for donor in names if family[donor] == family[names[place]]} - drawn
        if len(drawn) + len(members) <= wanted:
            drawn |= members
    if len(drawn) < wanted:
        log.warning("%d donors are held out instead of %d: families stay together", len(drawn), wanted)
    return drawn


def places(windows: pd.DataFrame, width: int) -> pd.DataFrame:
    """The central ``width`` bp of windows: ``chrom start end``."""
    start = (windows["start"] + windows["end"] - width) // 2
    return pd.DataFrame({"chrom": windows["chrom"], "start": start, "end": start + width})


def reference_codes(cohort: Cohort, loci: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The reference sequence of loci, ``[n, span]``."""
    return cohort.codes[cohort.offsets[loci]]


def seen_before(seen: Seen, cohort: Cohort, loci: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which loci an earlier stage of training saw, in the sequence that the model is shown."""
    own = places(cohort.windows.iloc[loci], cohort.span)
    return seen.saw(own["chrom"], own["start"], own["end"], reference_codes(cohort, loci))


def held_out(
    windows: pd.DataFrame, fold: int, seen: NDArray[np.bool_]
) -> tuple[list[str] | None, list[list[object]] | None]:
    """What no stage has seen of a test fold: whole chromosomes, or its windows when chromosomes hold several folds.

    ``seen`` ``[windows]`` are those that an earlier stage saw. Returns ``(chromosomes, None)`` or ``(None, [[chrom,
    start, end], …])``.
    """
    test = (windows["fold"] == fold).to_numpy()
    mixed = set(windows.loc[test, "chrom"]) & set(windows.loc[~test | seen, "chrom"])
    if not mixed:
        return sorted(set(windows.loc[test, "chrom"])), None
    regions = windows.loc[test & ~seen, ["chrom", "start", "end"]]
    return None, [[str(chrom), int(start), int(end)] for chrom, start, end in regions.itertuples(index=False)]


def with_genotypes(cohort: Cohort, genotypes: str, seed: int) -> Cohort:
    """The cohort as a control model sees it: ``personal``; ``reference`` (everyone carries row 0); ``shuffled`` (diplotypes
    permuted among donors within each locus, independently between loci, by ``seed``)."""
    if genotypes == "personal":
        return cohort
    if genotypes == "reference":
        return replace(cohort, index=np.zeros_like(cohort.index), allelic=None)
    if genotypes != "shuffled":
        raise DataError(f"--genotypes {genotypes} is unknown; one of {', '.join(GENOTYPES)}")
    order = np.random.default_rng(seed).random(cohort.index.shape[:2]).argsort(axis=1)
    return replace(cohort, index=np.take_along_axis(cohort.index, order[..., None], axis=1))


@dataclass(frozen=True)
class Diplotypes:
    """The distinct unordered pairs of haplotypes of each locus.

    ``pairs`` ``[n, 2]`` are rows within the locus, pairs of locus w are ``offsets[w]:offsets[w + 1]``, and ``index``
    ``[locus, donor]`` says which pair within the locus a donor has.
    """

    pairs: NDArray[np.int64]
    offsets: NDArray[np.int64]
    index: NDArray[np.int64]


def distinct_diplotypes(cohort: Cohort) -> Diplotypes:
    """Each pair of haplotypes of a locus once, for a model that sees both at once."""
    loci = len(cohort.index)
    low, high = cohort.index.min(axis=2), cohort.index.max(axis=2)
    base = int(np.diff(cohort.offsets).max())
    key = (np.arange(loci)[:, None] * base + low) * base + high
    distinct, inverse = np.unique(key, return_inverse=True)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(distinct // base**2, minlength=loci))])
    pairs = np.stack([distinct // base % base, distinct % base], axis=1)
    return Diplotypes(pairs, offsets, inverse.reshape(key.shape) - offsets[:-1, None])


def ranges(offsets: Tensor, loci: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of several loci one after another ``[rows]``, and where each locus starts in that list ``[loci]``."""
    starts, lengths = offsets[loci], offsets[loci + 1] - offsets[loci]
    ends = lengths.cumsum(0)
    local = ends - lengths
    rows = torch.repeat_interleave(starts - local, lengths)
    return rows + torch.arange(rows.numel(), device=rows.device), local


def diploid_log_rate(haplotype_log_rate: Tensor, index: Tensor) -> Tensor:
    """``log(½ (exp f(h1) + exp f(h2)))`` for donors: ``[rows]`` and ``[…, 2]`` to ``[…]`` (natural logarithm)."""
    pair = haplotype_log_rate[index]
    return torch.logaddexp(pair[..., 0], pair[..., 1]) - LN2
