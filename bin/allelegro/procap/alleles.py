"""Reads of a library that say which haplotype of its donor they came from, by window, and both alleles' reads by SNV.

A read is given to a haplotype when it has that haplotype's base at one or more phased heterozygous SNVs, and the other
haplotype's and a third base at none. Its window and strand are those of its counted end, and reads that count are those of
coverage (:class:`~allelegro.procap.bam.ReadRules`), one a molecule with UMIs. What cannot be given is counted by reason.

Haplotype counts as phASER's (Castel et al. 2016, doi:10.1038/ncomms12817), without its read-backed phasing.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, bdtrc, betaln, xlogy

from allelegro.errors import DataError
from allelegro.intervals import concatenated_ranges, inside, union
from allelegro.io.arrays import save_array
from allelegro.io.atomic import atomic_path
from allelegro.io.bam_index import ContigRecords, contig_records
from allelegro.io.bgzf import ends_whole
from allelegro.io.checksums import sha256
from allelegro.io.contigs import check_shared
from allelegro.io.tables import write_table
from allelegro.io.windows import read_windows
from allelegro.procap.bam import (
    ALTERNATIVE,
    LOW_QUALITY,
    OTHER,
    REFERENCE,
    TALLIES,
    AlignmentStream,
    AllelicReads,
    ReadRules,
    SitesOfContigs,
    open_runs,
)
from allelegro.procap.heterozygotes import DonorGenotypes, Heterozygotes, require_sites
from allelegro.procap.regions import ContigFilter

SNV_COLUMNS = [
    "chrom", "pos", "ref", "alt", "library", "donor", "ref_count", "alt_count", "other", "low_quality", "id", "phase",
    "use",
]  # fmt: skip
FORMAT = 1
HAPLOTYPES = 2
# What becomes of a read over a heterozygous SNV; the first that holds, in this order.
MOVED, OUTSIDE, THIRD, CONTRADICTING, ASSIGNED, LOW, UNPHASED, NEAR_INDEL, GENOTYPE = _OUTCOMES = (
    "moved by an allele swap",
    "5' end outside the windows",
    "third base",
    "contradicting bases",
    "assigned to a haplotype",
    "low base quality",
    "site not phased",
    "site near an indel",
    "likely genotyping error",
)
PHASE_SETS, DISAGREE = "window of several phase sets", "window whose sites disagree"
DUPLICATE = "PCR duplicate (position and UMI)"
USED = "used"  # a site that tells haplotypes apart
_GENOTYPE_ERRORS, _BASE_ERRORS, _CONCENTRATION, _ODDS = 0.01, 0.01, 20.0, 10.0
_MOST_OTHER, _FEWEST_TO_JUDGE = 0.2, 50  # share of third bases that says the reads are not of this genome
_DISAGREE_P, _CONTRADICTING_SHARE, _CONTRADICTING_LEAST = 1e-4, 0.2, 4

log = logging.getLogger(__name__)
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class AlleleRules:
    """Which observations count: bases of at least ``min_base_quality``, SNVs more than ``indel_distance`` bp from an indel."""

    min_base_quality: int = 20
    indel_distance: int = 5


@dataclass
class ContigAlleles:
    """What one contig adds: ``counts`` of its windows (rows ``windows``), its SNV table, and reads by outcome."""

    windows: NDArray[np.intp]
    counts: NDArray[np.uint32]
    reference: NDArray[
        np.float32
    ]  # of the reads of each window: SNVs whose reference base haplotype 0 has, less haplotype 1's
    snvs: pd.DataFrame
    outcomes: Counter[str]
    excluded: dict[str, str]
    before: Ints  # reference and alternative bases at all sites, before any read or site is excluded
    tally: Ints


def count_alleles(
    reads: Sequence[Path],
    vcfs: Sequence[Path],
    windows_path: Path,
    prefix: Path,
    *,
    library: str,
    donor: str,
    read_rules: ReadRules,
    allele_rules: AlleleRules | None = None,
    reference: Path | None = None,
    threads: int = 1,
) -> dict[str, Any]:
    """Count one library: ``PREFIX.allelic.npy``, ``PREFIX.reference.npy``, ``PREFIX.snvs.tsv.gz``, ``PREFIX.alleles.json``.

    ``PREFIX.allelic.npy`` is uint32 ``[window, strand, haplotype]`` (strand 0 plus, haplotype 0 the left one of ``0|1``);
    ``PREFIX.reference.npy`` float32 ``[window]`` says how a preference for reference bases moves haplotype 0: the mean over
    reads of its reference bases less those of haplotype 1. The SNV table has one row a heterozygous SNV with reads (``SNV_COLUMNS``, 1-based). Several alignment files are runs of
    the library. Returns what the JSON holds. Raises DataError for unreadable files, a donor that is not in the VCF or not
    phased, reads of another assembly, and reads that cover none of the sites.
    """
    rules = allele_rules or AlleleRules()
    windows = read_windows(windows_path, folds=False)
    genotypes = DonorGenotypes.open(vcfs, donor, rules.indel_distance)
    streams = open_runs(reads, reference, ContigFilter().mask)
    contigs = dict(streams[0].contigs)
    check_shared(contigs, str(reads[0]), genotypes.lengths, vcfs[0])
    check_shared(windows["chrom"].unique().tolist(), str(windows_path), contigs, reads[0])
    for stream, path in zip(streams, reads, strict=True):
        genotypes.require_contigs(stream.contigs, path)
    sites = {name: genotypes.on(name) for name in contigs if name in genotypes.lengths}
    known = require_sites(sites, genotypes)
    job = _Job(reads, reference, streams, sites, windows, library, donor, read_rules, rules)
    parts = list(job.contigs(threads))
    counts = np.zeros((len(windows), 2, HAPLOTYPES), np.uint32)
    orientation = np.zeros(len(windows), np.float32)
    for part in parts:
        counts[part.windows], orientation[part.windows] = part.counts, part.reference
    table = pd.concat([part.snvs for part in parts], ignore_index=True)[SNV_COLUMNS]
    _require_same_genome(table, reads[0], vcfs[0], donor, known)
    summary = _summary(job, parts, table, counts) | {"windows_sha256": sha256(windows_path)}
    paths = [Path(f"{prefix}.{name}") for name in ("allelic.npy", "snvs.tsv.gz", "reference.npy", "alleles.json")]
    write_table(table, paths[1])
    with atomic_path(paths[0]) as array, atomic_path(paths[2]) as bias, atomic_path(paths[3]) as report:
        save_array(array, counts)
        save_array(bias, orientation)
        summary["sha256"] = sha256(array)
        report.write_text(json.dumps(summary, indent=1) + "\n")
    log.info(
        "%s (%s): %d of %d reads over heterozygous SNVs given to a haplotype, reference share %.4f",
        library, donor, summary["reads"][ASSIGNED], sum(summary["reads"].values()), summary["reference_share"]["after"]["share"],
    )  # fmt: skip
    return summary


@contextmanager
def warn_on_error(library: str) -> Iterator[None]:
    """Turn a DataError into a warning: a run goes on without the allelic reads of a library."""
    try:
        yield
    except DataError as error:
        log.warning("library %s has no allelic reads: %s", library, error)


@dataclass(frozen=True)
class _Job:
    """One library: its reads, the donor's sites and the windows."""

    reads: Sequence[Path]
    reference: Path | None
    streams: list[AlignmentStream]
    sites: dict[str, Heterozygotes]
    windows: pd.DataFrame
    library: str
    donor: str
    read_rules: ReadRules
    rules: AlleleRules

    def contigs(self, threads: int) -> Iterator[ContigAlleles]:
        """Every contig that has sites, in the order of the first header."""
        indices = [contig_records(path) for path in self.reads] if threads > 1 else [None]
        if all(index is not None for index in indices):
            for path in self.reads:
                if not ends_whole(path):
                    raise DataError(
                        f"{path}: ends without the BAM end-of-file block; the file is truncated, copy it again"
                    )
            names = [name for name in self.streams[0].contigs if len(self.sites.get(name, ()))]
            with ThreadPoolExecutor(threads) as pool:
                yield from pool.map(lambda name: self._indexed(name, [index or {} for index in indices]), names)
            return
        for name, parts in self._in_order():
            yield self._finish(name, AllelicReads.join(name, parts), np.zeros(len(TALLIES), np.int64))

    @property
    def _positions(self) -> SitesOfContigs:
        return {name: (found.position, found.alleles) for name, found in self.sites.items()}

    def _in_order(self) -> Iterator[tuple[str, list[AllelicReads]]]:
        """Reads of all runs, one contig after the other; only runs with contigs in another order make them wait."""
        names = [name for name in self.streams[0].contigs if len(self.sites.get(name, ()))]
        place = {name: number for number, name in enumerate(names)}
        waiting: dict[str, list[AllelicReads]] = {name: [] for name in names}
        same_order = all(list(stream.contigs) == list(self.streams[0].contigs) for stream in self.streams)
        pieces = [
            stream.allelic_reads(self.read_rules, self._positions, self.rules.min_base_quality)
            for stream in self.streams
        ]
        reached = [0] * len(pieces)
        finished = 0
        while finished < len(names):
            behind = min(range(len(pieces)), key=reached.__getitem__)
            piece = next(pieces[behind], None)
            if piece is not None:
                waiting[piece.contig].append(piece)
                reached[behind] = place[piece.contig] if same_order else 0
            else:
                reached[behind] = len(names)
            while finished < min(reached):
                yield names[finished], waiting.pop(names[finished])
                finished += 1

    def _indexed(self, name: str, indices: Sequence[dict[int, ContigRecords]]) -> ContigAlleles:
        """One contig, entered by the indices of the runs."""
        parts: list[AllelicReads] = []
        tally = np.zeros(len(TALLIES), np.int64)
        for path, index in zip(self.reads, indices, strict=True):
            stream = AlignmentStream(path, self.reference)
            stream.kept = ContigFilter().mask(stream.contigs, path)
            found = index.get(list(stream.contigs).index(name)) if name in stream.contigs else None
            if found is not None:
                stream.enter(found.offset)
                pieces = stream.allelic_reads(self.read_rules, self._positions, self.rules.min_base_quality, only=name)
                parts += [piece for piece in pieces if piece.contig == name]
                if int(stream.tally[0]) != found.records:
                    raise DataError(f"{path}: its index is of another file; run samtools index again")
                tally += stream.tally
            stream.close()
        return self._finish(name, AllelicReads.join(name, parts), tally)

    def _finish(self, name: str, reads: AllelicReads, tally: Ints) -> ContigAlleles:
        """Counts of a contig from its reads; ``tally`` says which records did not come this far."""
        molecules = first_of_molecules(reads) if len(reads.umi) else reads
        part = count_contig(self.windows, name, self.sites[name], molecules)
        part.outcomes[DUPLICATE] += len(reads.end) - len(molecules.end)
        part.tally += tally
        part.snvs = part.snvs.assign(library=self.library, donor=self.donor)
        return part


def first_of_molecules(reads: AllelicReads) -> AllelicReads:
    """One read of each molecule (position, strand and UMI): the first in the file."""
    order = np.lexsort((reads.umi, reads.end))
    ends, umis = reads.end[order], reads.umi[order]
    new = np.append(True, (ends[1:] != ends[:-1]) | (umis[1:] != umis[:-1]))[: len(order)]
    kept = np.sort(order[new])
    sizes = np.diff(reads.offsets)[kept]
    at = concatenated_ranges(reads.offsets[kept], sizes)
    return AllelicReads(
        reads.contig, reads.end[kept], reads.umi[kept], reads.moved[kept], np.append(0, np.cumsum(sizes)),
        reads.site[at], reads.seen[at],
    )  # fmt: skip


def count_contig(windows: pd.DataFrame, contig: str, sites: Heterozygotes, reads: AllelicReads) -> ContigAlleles:
    """Counts of the windows of a contig by strand and haplotype, its SNV table, and the outcome of every read."""
    read = np.repeat(np.arange(len(reads.end)), np.diff(reads.offsets))
    observed = np.zeros((len(sites), 4), np.int64)
    still = ~reads.moved[read]
    np.add.at(observed, (reads.site[still], reads.seen[still]), 1)
    both = [np.bincount(reads.seen, minlength=4)[kind] for kind in (REFERENCE, ALTERNATIVE)]
    wrong = sites.usable & (homozygous_odds(observed[:, REFERENCE], observed[:, ALTERNATIVE]) > _ODDS)
    votes = _Votes.of(sites, wrong, reads, read)
    own = np.flatnonzero(windows["chrom"].to_numpy() == contig)
    starts, ends = (windows[column].to_numpy(np.int64)[own] for column in ("start", "end"))
    order = np.argsort(starts, kind="stable")
    own, starts, ends = own[order], starts[order], ends[order]
    position = reads.end >> 1
    window = np.searchsorted(starts, position, side="right") - 1
    covered = inside(position, *union(starts, ends))
    outcome = votes.outcome(reads.moved, ~covered)
    excluded = _excluded_windows(sites, starts, ends, votes, outcome, window, read, reads)
    names = windows["name"].to_numpy()[own]
    lost = np.isin(window, list(excluded)) & (outcome == _OUTCOMES.index(ASSIGNED))
    outcomes = Counter({name: int(((outcome == code) & ~lost).sum()) for code, name in enumerate(_OUTCOMES)})
    for number, reason in excluded.items():
        outcomes[reason] += int((lost & (window == number)).sum())
    good = (outcome == _OUTCOMES.index(ASSIGNED)) & ~lost
    counts = np.zeros((len(own), 2, HAPLOTYPES), np.uint32)
    for strand in (0, 1):
        for haplotype in range(HAPLOTYPES):
            chosen = np.sort(position[good & ((reads.end & 1) == strand) & (votes.haplotype == haplotype)])
            counts[:, strand, haplotype] = np.searchsorted(chosen, ends) - np.searchsorted(chosen, starts)
    counts[list(excluded)] = 0
    order = np.flatnonzero(good)[np.argsort(position[good], kind="stable")]
    sums = np.append(0, np.cumsum(votes.reference[order]))
    last, first = (np.searchsorted(position[order], edges) for edges in (ends, starts))
    reference = (sums[last] - sums[first]) / np.maximum(last - first, 1)
    reference[list(excluded)] = 0
    return ContigAlleles(
        own, counts, reference.astype(np.float32), _snv_table(contig, sites, observed, wrong), outcomes,
        {str(names[number]): reason for number, reason in excluded.items()}, np.array(both, np.int64),
        np.zeros(len(TALLIES), np.int64),
    )  # fmt: skip


@dataclass(frozen=True)
class _Votes:
    """What the observations of each read say: how many for either haplotype, third bases, low quality, unusable sites."""

    first: Ints
    second: Ints
    reference: Ints  # used SNVs at which haplotype 0 has the reference base, less those at which haplotype 1 has it
    third: Ints
    low: Ints
    unphased: Ints
    near: Ints
    genotype: Ints

    @classmethod
    def of(cls, sites: Heterozygotes, wrong: Flags, reads: AllelicReads, read: Ints) -> "_Votes":
        usable = (sites.usable & ~wrong)[reads.site]
        allele = (reads.seen == REFERENCE) | (reads.seen == ALTERNATIVE)
        alternative = sites.haplotype[reads.site]
        haplotype = np.where(reads.seen == ALTERNATIVE, alternative, 1 - alternative)
        unphased = ~sites.phased[reads.site]
        near = ~unphased & sites.near_indel[reads.site]

        def count(chosen: Flags) -> Ints:
            return np.bincount(read[chosen], minlength=len(reads.end))

        return cls(
            count(usable & allele & (haplotype == 0)), count(usable & allele & (haplotype == 1)),
            count(usable & allele & (alternative == 1)) - count(usable & allele & (alternative == 0)),
            count(usable & (reads.seen == OTHER)), count(usable & (reads.seen == LOW_QUALITY)),
            count(unphased), count(near), count(wrong[reads.site]),
        )  # fmt: skip

    @property
    def haplotype(self) -> Ints:
        """The haplotype of assigned reads."""
        return (self.second > 0).astype(np.int64)

    def outcome(self, moved: Flags, outside: Flags) -> Ints:
        """Index into ``_OUTCOMES`` of each read."""
        either = (self.first > 0) | (self.second > 0)
        conditions = {
            MOVED: moved, OUTSIDE: outside, THIRD: self.third > 0, CONTRADICTING: (self.first > 0) & (self.second > 0),
            ASSIGNED: either, LOW: self.low > 0, UNPHASED: self.unphased > 0, NEAR_INDEL: self.near > 0,
            GENOTYPE: self.genotype > 0,
        }  # fmt: skip
        return np.select(list(conditions.values()), [_OUTCOMES.index(name) for name in conditions], 0)


def _excluded_windows(
    sites: Heterozygotes,
    starts: Ints,
    ends: Ints,
    votes: _Votes,
    outcome: Ints,
    window: Ints,
    read: Ints,
    reads: AllelicReads,
) -> dict[int, str]:
    """Windows in which a haplotype cannot be told, with the reason: several phase sets, or sites that disagree.

    Sites disagree when many reads over two of them contradict the phase, or when one site says clearly that the first
    haplotype has more reads and another that it has fewer: the phase is wrong between them, or they tell of two start sites.
    """
    excluded: dict[int, str] = {}
    sets = np.where(sites.phased, sites.phase_set, -1)
    for number in np.flatnonzero(ends > starts).tolist() if (sets > 0).any() else ():
        inside_ = sets[slice(*np.searchsorted(sites.position, [starts[number], ends[number]]))]
        if len(np.unique(inside_[inside_ >= 0])) > 1:
            excluded[number] = PHASE_SETS
    several = votes.first + votes.second > 1
    contradicting = np.bincount(window[outcome == _OUTCOMES.index(CONTRADICTING)], minlength=len(starts))
    agreeing = np.bincount(window[several & (outcome == _OUTCOMES.index(ASSIGNED))], minlength=len(starts))
    wrong = (contradicting >= _CONTRADICTING_LEAST) & (
        contradicting > _CONTRADICTING_SHARE * (contradicting + agreeing)
    )
    chosen = (outcome[read] == _OUTCOMES.index(ASSIGNED)) & (reads.seen <= ALTERNATIVE)
    pair, inverse = np.unique(window[read[chosen]] * max(len(sites), 1) + reads.site[chosen], return_inverse=True)
    total = np.bincount(inverse, minlength=len(pair))
    first = np.bincount(inverse, votes.first[read[chosen]] > 0, len(pair))
    where = pair // max(len(sites), 1)
    fewer, more = (np.zeros(len(starts), np.bool_) for _ in range(2))
    fewer[where[bdtr(first, total, 0.5) < _DISAGREE_P]] = True
    more[where[bdtrc(first - 1, total, 0.5) < _DISAGREE_P]] = True
    for number in np.flatnonzero(wrong | (fewer & more)).tolist():
        excluded.setdefault(number, DISAGREE)
    return excluded


def homozygous_odds(reference: ArrayLike, alternative: ArrayLike) -> NDArray[np.float64]:
    """Odds that a site called heterozygous is homozygous, given its reads of either allele.

    One genotype in a hundred is taken to be wrong and one base in a hundred misread; reads of a true heterozygote are
    beta-binomial around one half with concentration 20 (log2 ratios of standard deviation 0.6).
    """
    a, b = np.asarray(reference, np.float64), np.asarray(alternative, np.float64)
    minor, major = np.minimum(a, b), np.maximum(a, b)
    half = _CONCENTRATION / 2
    heterozygous = betaln(a + half, b + half) - betaln(half, half)
    homozygous = xlogy(minor, _BASE_ERRORS) + xlogy(major, 1 - _BASE_ERRORS)
    prior = np.log(_GENOTYPE_ERRORS / (1 - _GENOTYPE_ERRORS))
    return np.asarray(np.exp(np.minimum(prior + homozygous - heterozygous, 700)))


def _snv_table(contig: str, sites: Heterozygotes, observed: Ints, wrong: Flags) -> pd.DataFrame:
    """Rows of the SNVs with reads."""
    rows = np.flatnonzero(observed.sum(axis=1))
    use = np.select([~sites.phased, sites.near_indel, wrong], [UNPHASED, NEAR_INDEL, GENOTYPE], USED)
    return pd.DataFrame(
        {
            "chrom": contig,
            "pos": sites.position[rows] + 1,
            "ref": sites.letters[rows, 0],
            "alt": sites.letters[rows, 1],
            "ref_count": observed[rows, REFERENCE],
            "alt_count": observed[rows, ALTERNATIVE],
            "other": observed[rows, OTHER],
            "low_quality": observed[rows, LOW_QUALITY],
            "id": sites.name[rows],
            "phase": np.where(sites.phased, np.where(sites.haplotype == 1, "0|1", "1|0"), "0/1")[rows],
            "use": use[rows],
        }
    )


def _require_same_genome(table: pd.DataFrame, reads: Path, vcf: Path, donor: str, known: int) -> None:
    """Raise DataError when no read covers a site, or when too many reads have neither allele."""
    alleles, other = int(table["ref_count"].sum() + table["alt_count"].sum()), int(table["other"].sum())
    if not alleles + other:
        raise DataError(
            f"{reads}: no read that counts covers any of the {known:,} heterozygous SNVs of donor {donor} in {vcf}; "
            "check assembly, donor and the filters of reads"
        )
    if alleles + other >= _FEWEST_TO_JUDGE and other > _MOST_OTHER * (alleles + other):
        raise DataError(
            f"{reads}: {100 * other / (alleles + other):.0f} % of the bases at heterozygous SNVs of donor {donor} are neither "
            f"allele of {vcf}: another assembly; align the reads to the genome that the variants were called on"
        )


def _share(reference: int, alternative: int) -> dict[str, float | int | None]:
    total = reference + alternative
    return {"ref": reference, "alt": alternative, "share": reference / total if total else None}


def _summary(
    job: _Job, parts: Sequence[ContigAlleles], table: pd.DataFrame, counts: NDArray[np.uint32]
) -> dict[str, Any]:
    """What the JSON says of a library."""
    outcomes = sum((part.outcomes for part in parts), Counter[str]())
    before = sum((part.before for part in parts), np.zeros(2, np.int64))
    used = table[table["use"] == USED]
    tally = np.sum([part.tally for part in parts] + [stream.tally for stream in job.streams], axis=0)
    return {
        "format": FORMAT,
        "library": job.library,
        "donor": job.donor,
        "inputs": [path.name for path in job.reads],
        "reads": {name: outcomes[name] for name in (*_OUTCOMES, PHASE_SETS, DISAGREE, DUPLICATE)},
        "not_counted": {name: int(n) for name, n in zip(TALLIES[1:10], tally[1:10].tolist(), strict=True)},
        "sites": {
            "heterozygous": sum(len(found) for found in job.sites.values()),
            "with reads": len(table),
            **{use: int((table["use"] == use).sum()) for use in (USED, UNPHASED, NEAR_INDEL, GENOTYPE)},
        },
        "reference_share": {
            "before": _share(*before.tolist()),
            "after": _share(int(used["ref_count"].sum()), int(used["alt_count"].sum())),
        },
        "windows": {
            "with reads": int((counts.sum(axis=(1, 2)) > 0).sum()),
            "excluded": {name: reason for part in parts for name, reason in part.excluded.items()},
        },
    }
