"""Does a library belong to its donor? The alleles of its reads at SNPs against every donor's genotypes.

At each SNP the alternative reads of a donor are beta-binomial: around the error rate for a homozygote, around one half for a
heterozygote, both wide enough for PCR duplicates and for alleles that initiate unequally. A donor's score is the sum of log
likelihoods over SNPs; as in Jun et al. 2012 (doi:10.1016/j.ajhg.2012.09.004) all genotyped donors compete.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaln, logsumexp

from allelegro.errors import DataError
from allelegro.intervals import union
from allelegro.io.contigs import check_shared
from allelegro.io.genotypes import ABSENT, ALT, ALT_END, MISSING, POS, REF, REF_END, RecordLines
from allelegro.io.tables import COUNT, NAME, NUMBER, maybe, write_table
from allelegro.io.vcf import IndexedVcf, select_samples
from allelegro.procap.bam import CONTIG_SHIFT, POSITION_MASK, ReadRules, open_runs
from allelegro.procap.regions import ContigFilter

KINDS = {
    "library": NAME, "donor": NAME, "candidate": NAME, "sites": COUNT, "reads": COUNT, "concordance": maybe(NUMBER),
    "log10_odds": maybe(NUMBER), "verdict": NAME,
}  # fmt: skip
COLUMNS = list(KINDS)
_ERROR, _HOMOZYGOTE_CONCENTRATION, _HETEROZYGOTE_CONCENTRATION = 0.01, 10.0, 4.0
_MOST_READS_OF_A_SITE = 20  # one PCR-duplicate pile-up must not decide
_MISSING = 3
_BASE_BITS = np.zeros(256, np.uint8)
for _bit, _letters in enumerate(("Aa", "Cc", "Gg", "Tt")):
    _BASE_BITS[[ord(letter) for letter in _letters]] = 1 << _bit
_BIN_BITS = 8  # key bits dropped: bins of 128 bp, both strands
_REACH = 150  # bp of a read beyond its end's bin

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MatchRules:
    """Which reads and sites are used and when a call is made.

    The best-covered ``max_bins`` bins of 128 bp are searched for SNPs. A donor other than the claimed one is named when its
    odds exceed 10 to the ``min_log10_odds``; a library whose best donor explains less than ``min_concordance`` of the reads
    fits no donor.
    """

    min_mapq: int = 30
    max_bins: int = 20_000
    min_sites: int = 10
    min_log10_odds: float = 3.0
    min_concordance: float = 0.9


@dataclass(frozen=True)
class Sites:
    """Biallelic SNPs that differ among donors: sorted keys, 4-bit alleles ``[site, 2]``, genotypes ``[site, donor]`` (3 missing)."""

    keys: NDArray[np.uint64]
    alleles: NDArray[np.uint8]
    genotypes: NDArray[np.uint8]
    donors: list[str]


def match_donor(
    reads: Sequence[Path],
    vcfs: Sequence[Path],
    library: str,
    donor: str,
    out: Path,
    rules: MatchRules,
    reference: Path | None = None,
) -> pd.DataFrame:
    """Rank every donor of the VCFs (one file, or one a chromosome) by how well it explains a library's reads; write and return the table, best first.

    Call (on every row): ``match``, ``swap`` (another donor fits better), ``undecided`` (too few sites or too small odds),
    ``no donor fits``, or ``donor not genotyped``. Raises DataError for unreadable files or contig names that do not meet.
    """
    regions = _covered_regions(reads, rules, reference)
    sites = _snps(vcfs, regions)
    counts = np.zeros((len(sites.keys), 2), np.int64)
    for stream in open_runs(reads, reference, ContigFilter().mask):
        counts += stream.count_alleles(sites.keys, sites.alleles, rules.min_mapq)
    table = rank_donors(counts, sites.genotypes, sites.donors)
    table.insert(0, "library", library)
    table.insert(1, "donor", donor)
    table["verdict"] = donor_call(table, donor, rules)
    write_table(table[COLUMNS], out)
    best = table.iloc[0]
    log.info("%s (%s): %s; best donor %s, %d sites", library, donor, best["verdict"], best["candidate"], best["sites"])
    return table[COLUMNS]


def _covered_regions(
    reads: Sequence[Path], rules: MatchRules, reference: Path | None
) -> list[tuple[int, str, int, int]]:
    """The best-covered stretches as (contig number, contig, start, end), merged where they overlap."""
    parts: list[NDArray[np.uint64]] = []
    weights: list[NDArray[np.int64]] = []
    streams = open_runs(reads, reference, ContigFilter().mask)
    names = list(streams[0].contigs)
    for stream in streams:
        for batch in stream.batches(ReadRules(min_mapq=rules.min_mapq)):
            bins, sizes = np.unique(batch.keys >> np.uint64(_BIN_BITS), return_counts=True)
            parts.append(bins)
            weights.append(sizes)
    bins, where = np.unique(np.concatenate(parts), return_inverse=True)
    sums = np.bincount(where, np.concatenate(weights))
    best = np.sort(bins[np.argsort(-sums, kind="stable")[: rules.max_bins]])
    regions: list[tuple[int, str, int, int]] = []
    for contig in np.unique(best >> np.uint64(CONTIG_SHIFT - _BIN_BITS)).tolist():
        own = best[best >> np.uint64(CONTIG_SHIFT - _BIN_BITS) == contig] << np.uint64(_BIN_BITS)
        start = (own & np.uint64(POSITION_MASK)).astype(np.int64) >> 1
        merged = union(np.maximum(start - _REACH, 0), start + (1 << _BIN_BITS - 1) + _REACH)
        regions += [(contig, names[contig], *bounds) for bounds in np.stack(merged, axis=1).tolist()]
    return regions


def _snps(paths: Sequence[Path], regions: Sequence[tuple[int, str, int, int]]) -> Sites:
    """Biallelic SNPs of the regions at which donors differ; of records at one position the first counts."""
    opened = [IndexedVcf(path) for path in paths]
    donors = select_samples(None, opened[0].samples, opened[0].path)
    names = dict.fromkeys(name for vcf in opened for name in vcf.contigs)
    check_shared(dict.fromkeys(name for _, name, _, _ in regions), "the reads", names, paths[0])
    parts = [Sites(np.empty(0, np.uint64), np.empty((0, 2), np.uint8), np.empty((0, len(donors)), np.uint8), donors)]
    for vcf in opened:
        if vcf.samples != donors:
            raise DataError(
                f"{vcf.path}: its donors are not those of {paths[0]}, in that order; give files of one call set"
            )
        for (number, name), own in groupby(regions, key=itemgetter(0, 1)):
            # A record that begins before the region is no SNP of it.
            lines = [
                line
                for _, _, start, end in own
                for line in vcf.lines(name, start, end)
                if not (position := line.split("\t", 2)[1]).isdigit() or int(position) > start
            ]
            parts.append(_biallelic_snps(RecordLines.parse(vcf.path, name, lines), number, donors))
    keys, first = np.unique(np.concatenate([part.keys for part in parts]), return_index=True)
    alleles, genotypes = (
        np.concatenate([getattr(part, field) for part in parts])[first] for field in ("alleles", "genotypes")
    )
    if repeated := sum(len(part.keys) for part in parts) - len(keys):
        log.info("%s: %d records at the position of another SNP were not used", paths[0], repeated)
    known = genotypes != _MISSING
    lowest = np.where(known, genotypes, 2).min(axis=1, initial=2)
    differs = lowest < np.where(known, genotypes, 0).max(axis=1, initial=0)
    return Sites(keys[differs], alleles[differs], genotypes[differs], donors)


def _biallelic_snps(lines: RecordLines, contig: int, donors: list[str]) -> Sites:
    """Biallelic SNPs among record lines; a call with a missing allele is missing, a haploid one counts twice."""
    fields = lines.fields
    single = (fields[:, REF_END] - fields[:, REF] == 1) & (fields[:, ALT_END] - fields[:, ALT] == 1)
    records = np.flatnonzero(single)
    alleles = _BASE_BITS[lines.text[fields[records][:, [REF, ALT]]]]
    records, alleles = records[(alleles > 0).all(axis=1)], alleles[(alleles > 0).all(axis=1)]
    called = lines.calls(records, donors, np.arange(len(donors)), len(donors)).alleles
    second = np.where(called[..., 1] == ABSENT, called[..., 0], called[..., 1])
    copies = (called[..., 0] > 0).astype(np.uint8) + (second > 0)
    missing = (called[..., 0] == MISSING) | (second == MISSING)
    keys = np.uint64(contig << CONTIG_SHIFT) | (fields[records, POS].astype(np.uint64) << np.uint64(1))
    return Sites(keys, alleles, np.where(missing, _MISSING, copies).astype(np.uint8), donors)


def rank_donors(counts: NDArray[np.int64], genotypes: NDArray[np.uint8], donors: Sequence[str]) -> pd.DataFrame:
    """Candidates from best to worst by reference and alternative reads ``[site, 2]`` and genotypes ``[site, donor]``.

    ``sites`` have reads and a genotype of the candidate; ``concordance`` is the share of ``reads`` at its homozygous sites that
    carry its allele (NA without such reads); ``log10_odds`` is relative to the best other candidate: positive for the best only.
    """
    covered = counts.sum(axis=1) > 0
    counts, genotypes = counts[covered].astype(np.float64), genotypes[covered]
    depth = counts.sum(axis=1, keepdims=True)
    capped = counts * np.minimum(1, _MOST_READS_OF_A_SITE / np.maximum(depth, 1))
    known = genotypes != _MISSING
    by_genotype = _log_likelihoods(capped)
    shares = (
        np.stack([(genotypes == kind).sum(axis=1) for kind in range(3)], axis=1)
        / np.maximum(known.sum(axis=1), 1)[:, None]
    )
    with np.errstate(divide="ignore"):
        unknown = logsumexp(by_genotype + np.log(shares), axis=1) if len(counts) else np.empty(0)
    scores = np.column_stack([by_genotype, unknown])
    totals = np.take_along_axis(scores, genotypes.astype(np.int64), axis=1).sum(axis=0) / np.log(10)
    homozygous = np.stack(
        [np.where(genotypes == 0, counts[:, :1], 0).sum(axis=0), np.where(genotypes == 2, counts[:, 1:], 0).sum(axis=0)]
    )
    all_reads = np.where((genotypes == 0) | (genotypes == 2), depth, 0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        concordance = homozygous.sum(axis=0) / all_reads
    order = np.argsort(-totals, kind="stable")
    best, second = totals[order[0]], totals[order[1]] if len(order) > 1 else -np.inf
    odds = totals - best
    odds[order[0]] = best - second
    table = pd.DataFrame(
        {"candidate": list(donors), "sites": known.sum(axis=0), "reads": all_reads.astype(np.int64), "concordance": concordance,
         "log10_odds": odds}
    )  # fmt: skip
    return table.iloc[order].reset_index(drop=True)


def _log_likelihoods(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Beta-binomial log likelihood of each site's reads under genotypes 0, 1 and 2 alternative alleles, ``[site, 3]``."""
    reference, alternative = counts[:, 0], counts[:, 1]
    columns = []
    for mean, concentration in (
        (_ERROR, _HOMOZYGOTE_CONCENTRATION), (0.5, _HETEROZYGOTE_CONCENTRATION), (1 - _ERROR, _HOMOZYGOTE_CONCENTRATION),
    ):  # fmt: skip
        alpha, beta = mean * concentration, (1 - mean) * concentration
        columns.append(betaln(alternative + alpha, reference + beta) - betaln(alpha, beta))
    return np.stack(columns, axis=1)


def donor_call(table: pd.DataFrame, donor: str, rules: MatchRules) -> str:
    """The call on a library from its ranked candidates."""
    best = table.iloc[0]
    if best["sites"] < rules.min_sites:
        return "undecided"
    if not best["concordance"] >= rules.min_concordance:
        return "no donor fits"
    if donor not in set(table["candidate"]):
        return "donor not genotyped"
    if best["log10_odds"] < rules.min_log10_odds:
        return "undecided"
    return "match" if best["candidate"] == donor else "swap"
