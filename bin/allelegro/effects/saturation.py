"""In-silico saturation mutagenesis: the effect of every single-nucleotide change of a region."""

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from allelegro.effects.scoring import Scorer, score_variants
from allelegro.effects.variants import Dropped, chunks_of, parse_alleles
from allelegro.effects.windows import Genome, reference_around
from allelegro.errors import DataError
from allelegro.genotype.store import HaplotypeStore
from allelegro.io.contigs import contig_hint
from allelegro.io.dna import decode
from allelegro.io.tables import write_table

SATURATION_COLUMNS = ["region", "chrom", "pos", "ref", "alt", "model", "effect", "effect_sd", "ref_prediction", "seen"]
BASES = "ACGT"

logger = logging.getLogger(__name__)


def central_regions(
    windows: pd.DataFrame,
    scorer: Scorer,
    span: int,
    count: int,
    names: Sequence[str],
    haplotypes: HaplotypeStore | None = None,
    genome: Genome | None = None,
) -> pd.DataFrame:
    """``chrom start end name``: the central ``span`` bp of the named windows, else of the ``count`` best by score.

    Without names only windows that a model of ``scorer`` did not see in training are considered, all where there is none;
    with the ``haplotypes`` of these windows, those where donors differ within the span come first. ``genome`` is needed
    where a model saw sequences without places.
    """
    middle = (windows["start"] + windows["end"]) // 2
    if names:
        missing = sorted(set(names) - set(windows["name"]))
        if missing:
            raise DataError(f"there is no window named {missing[0]}; the first is {windows['name'].iloc[0]}")
        chosen = windows[windows["name"].isin(names)]
    else:
        around = partial(reference_around, windows["chrom"], middle, genome) if genome is not None else None
        seen = scorer.choose(windows["chrom"], middle, around=around)[1] == "yes"
        pool = np.flatnonzero(seen.all() | ~seen)
        ranked = pool[np.argsort(-windows["score"].to_numpy()[pool], kind="stable")].tolist()
        if haplotypes is not None:
            haplotypes.check_windows(windows)
            varied = (place for place in ranked if haplotypes.common_alleles(place, span))
            ranked = list(dict.fromkeys([*islice(varied, count), *ranked]))
        chosen = windows.iloc[ranked[:count]]
    first = (middle[chosen.index] - span // 2).clip(lower=0)
    return chosen.assign(start=first, end=first + span)[["chrom", "start", "end", "name"]]


def whole_contigs(genome: Genome) -> pd.DataFrame:
    """Every sequence of a FASTA of elements as a region."""
    lengths = pd.Series(genome.lengths)
    return pd.DataFrame({"chrom": lengths.index, "start": 0, "end": lengths.to_numpy(), "name": lengths.index})


def all_changes(region: pd.Series, genome: Genome, deletions: bool) -> pd.DataFrame:
    """All SNVs (and one-base deletions, ALT ``-``) of a region as variants; positions that are N have none."""
    contig = genome.contig(str(region["chrom"]))
    if contig is None:
        hint = contig_hint([str(region["chrom"])], genome.lengths)
        raise DataError(f"{genome.path}: no contig {region['chrom']} for region {region['name']}; {hint}")
    sequence = decode(genome.codes(contig, int(region["start"]), int(region["end"])))
    rows = [
        (region["chrom"], int(region["start"]) + offset + 1, ref, alt, region["name"])
        for offset, ref in enumerate(sequence)
        if ref in BASES
        for alt in (BASES + "-" if deletions else BASES)
        if alt != ref
    ]
    return pd.DataFrame(rows, columns=["chrom", "pos", "ref", "alt", "id"])


def saturate(regions: pd.DataFrame, genome: Genome, scorer: Scorer, deletions: bool) -> Iterator[pd.DataFrame]:
    """One table (``SATURATION_COLUMNS``) a region; regions without a change that can be scored are skipped and named."""
    for _, region in regions.iterrows():
        changes = all_changes(region, genome, deletions)
        with Dropped() as dropped:
            scored = list(score_variants(parse_alleles(chunks_of(changes), dropped), scorer, genome, dropped))
        tables = [table for table in scored if not table.empty]
        if not tables:
            logger.warning("%s: skipped (%s)", region["name"], dropped.summary())
            continue
        table = pd.concat(tables)
        if (table["seen"] == "yes").any():
            logger.warning("%s: training of %s saw it (column seen)", region["name"], scorer.name)
        yield table.rename(columns={"id": "region"})[SATURATION_COLUMNS]


def write_saturation(tables: Iterator[pd.DataFrame], folder: Path) -> int:
    """Write ``saturation.tsv`` into ``folder``; the number of regions."""
    done = list(tables)
    if not done:
        raise DataError("no region could be scored; the warnings above say why")
    write_table(pd.concat(done), folder / "saturation.tsv")
    return len(done)
