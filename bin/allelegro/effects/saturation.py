"""In-silico saturation mutagenesis: every single-nucleotide change of a region, with a heat map and a sequence logo."""

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.effects.scoring import Scorer, score_variants
from allelegro.effects.variants import Dropped, chunks_of, parse_alleles
from allelegro.effects.windows import Genome
from allelegro.errors import DataError
from allelegro.genotype.store import HaplotypeStore
from allelegro.io.dna import decode
from allelegro.io.tables import write_table

SATURATION_COLUMNS = ["region", "chrom", "pos", "ref", "alt", "model", "effect", "effect_sd", "ref_prediction"]
BASES = "ACGT"

logger = logging.getLogger(__name__)


def central_regions(
    windows: pd.DataFrame,
    scorer: Scorer,
    span: int,
    count: int,
    names: Sequence[str],
    haplotypes: HaplotypeStore | None = None,
) -> pd.DataFrame:
    """``chrom start end name``: the central ``span`` bp of the named windows, else of the ``count`` best by score.

    Without names only windows that a model of ``scorer`` may score (it did not see them) are considered; with the
    ``haplotypes`` of these windows, those where donors differ within the span come first.
    """
    middle = (windows["start"] + windows["end"]) // 2
    if names:
        missing = sorted(set(names) - set(windows["name"]))
        if missing:
            raise DataError(f"there is no window named {missing[0]}; the first is {windows['name'].iloc[0]}")
        chosen = windows[windows["name"].isin(names)]
    else:
        eligible = np.flatnonzero(scorer.eligible(windows["chrom"], middle).any(axis=0))
        ranked = eligible[np.argsort(-windows["score"].to_numpy()[eligible], kind="stable")].tolist()
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
        raise DataError(f"{genome.path}: no contig {region['chrom']} for region {region['name']}; give its genome")
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
    """One table (``SATURATION_COLUMNS``) a region; regions that every model saw in training are skipped and named."""
    for _, region in regions.iterrows():
        changes = all_changes(region, genome, deletions)
        with Dropped() as dropped:
            scored = list(score_variants(parse_alleles(chunks_of(changes), dropped), scorer, genome, dropped))
        tables = [table for table in scored if not table.empty]
        if not tables:
            logger.warning("%s: skipped (%s)", region["name"], dropped.summary())
            continue
        yield pd.concat(tables).rename(columns={"id": "region"})[SATURATION_COLUMNS]


def write_saturation(tables: Iterator[pd.DataFrame], folder: Path) -> int:
    """Write ``saturation.tsv`` and one ``<region>.svg`` each into ``folder``; the number of regions."""
    done = []
    for table in tables:
        name = str(table["region"].iloc[0])
        draw(table, folder / f"{''.join(c if c.isalnum() or c in '._-' else '_' for c in name)}.svg")
        done.append(table)
    if not done:
        raise DataError("no region could be scored: every model saw all of them in training; use --all-models")
    write_table(pd.concat(done), folder / "saturation.tsv")
    return len(done)


def effect_matrix(table: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Effects of a region as ``[base, position]`` (0 for the reference base), and each base's importance.

    Importance of a position is minus the mean effect of its changes: positive where the reference base raises activity.
    """
    snvs = table[table["alt"].isin(list(BASES))]
    matrix = snvs.pivot(index="alt", columns="pos", values="effect").reindex(list(BASES))
    importance = -matrix.mean().to_numpy(dtype=np.float64)
    return matrix.fillna(0.0), importance


def draw(table: pd.DataFrame, path: Path) -> None:
    """Logo of the reference bases by importance over a heat map of every change's effect (log2, red: more activity)."""
    import logomaker
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    matrix, importance = effect_matrix(table)
    reference = table.drop_duplicates("pos").set_index("pos")["ref"].reindex(matrix.columns)
    positions = matrix.columns.to_numpy()
    letters = pd.DataFrame(0.0, index=positions, columns=list(BASES))
    for pos, base, height in zip(positions, reference, importance, strict=True):
        letters.loc[pos, base] = height
    figure, (logo, heat) = plt.subplots(
        2, 1, figsize=(max(6.0, 0.08 * len(positions)), 3.2), sharex=True, height_ratios=[1.2, 1], layout="constrained"
    )
    logomaker.Logo(letters, ax=logo)
    logo.set_ylabel("importance\n(log2)")
    logo.set_title(f"{table['region'].iloc[0]}, {table['model'].iloc[0]}", fontsize=9)
    limit = float(np.abs(matrix.to_numpy()).max()) or 1.0
    edges = (positions[0] - 0.5, positions[-1] + 0.5, 3.5, -0.5)
    image = heat.imshow(
        matrix, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, extent=edges, interpolation="none"
    )
    heat.set_yticks(range(4), list(BASES))
    heat.set_xlabel(f"position on {table['chrom'].iloc[0]} (1-based)")
    heat.ticklabel_format(axis="x", style="plain", useOffset=False)
    figure.colorbar(image, ax=heat, label="effect (log2)")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
