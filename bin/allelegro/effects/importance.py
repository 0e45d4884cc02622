"""Which bases each allele of a variant relies on: saturation mutagenesis around the variant, in both alleles."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.effects.scoring import Scorer
from allelegro.effects.variants import Dropped, chunks_of, parse_alleles
from allelegro.effects.windows import Codes, Genome, reference_agrees, reference_around
from allelegro.io.dna import N, decode, encode

KEY = ["chrom", "pos", "ref", "alt"]
IMPORTANCE_COLUMNS = [*KEY, "id", "model", "allele", "offset", "base", "importance"]


def top_scores(scores: pd.DataFrame, count: int, ranked: pd.DataFrame | None = None) -> pd.DataFrame:
    """The first rows of a table of scores, each variant once: by ``rank`` of ``ranked``, else the largest effects.

    Rows without a score are none of them.
    """
    scored = scores[scores["effect"].notna()]
    if ranked is None:
        order = np.argsort(-scored["effect"].abs().to_numpy(), kind="stable")
        return scored.iloc[order].drop_duplicates(KEY).head(count)
    first = ranked.dropna(subset="rank").sort_values("rank")[KEY]
    return first.merge(scored.drop_duplicates(KEY), on=KEY).head(count)


def importance(scores: pd.DataFrame, scorer: Scorer, genome: Genome, span: int) -> Iterator[pd.DataFrame]:
    """``IMPORTANCE_COLUMNS`` of each scored variant: of every base within ``span`` / 2 of it, in both alleles.

    The importance of a base is minus the mean effect (log2) of its three changes, the mean over the models that score
    the variant. Offsets count from the variant's first base; in the alternative allele they go on behind an insertion.
    A variant with a ``distance`` (bp from its window's centre, ``view`` element) is looked at in that window, as it was
    scored; indels and all others in a window centred on them.
    """
    with Dropped() as dropped:
        frame = pd.concat(list(parse_alleles(chunks_of(scores), dropped)))
    contigs = {str(name): genome.contig(str(name)) for name in frame["chrom"].unique()}
    frame = frame.assign(contig=frame["chrom"].map(contigs)).dropna(subset="contig")
    frame = frame[reference_agrees(frame, genome)]
    start = frame["pos"] - 1
    around = partial(reference_around, frame["chrom"], start, genome)
    chosen, _ = scorer.choose(frame["chrom"], start, start + frame["ref"].str.len(), around)
    for number, (_, row) in enumerate(frame.iterrows()):
        yield _of_variant(row, scorer, np.flatnonzero(chosen[:, number]), genome, span)


def _of_variant(row: pd.Series, scorer: Scorer, models: NDArray[np.intp], genome: Genome, span: int) -> pd.DataFrame:
    reach = min(span, scorer.narrowest) // 2
    tables = []
    for allele in ("ref", "alt"):
        total, letters = np.zeros(2 * reach), ""
        offsets = np.arange(-reach, reach)
        for number in models:
            model = scorer.models[number]
            codes, place = allele_window(row, allele, genome, scorer.input_width(model))
            inside = offsets + place
            within = (inside >= 0) & (inside < codes.size)
            found = np.full(offsets.size, np.nan)
            in_construct = scorer.context != "genomic" and bool(model.config["context"])
            sequences = _every_change(codes, inside[within])
            predicted = model.predict_log2(model.in_context(sequences) if in_construct else sequences)
            found[within] = predicted[0] - predicted[1:].reshape(3, -1).mean(axis=0)
            found[within] = np.where(codes[inside[within]] == N, np.nan, found[within])
            total += found / len(models)
            letters = decode(np.where(within, codes[inside.clip(0, codes.size - 1)], N).astype(np.uint8))
        tables.append(pd.DataFrame({"allele": allele, "offset": offsets, "base": list(letters), "importance": total}))
    known = {**{column: row[column] for column in [*KEY, "id"]}, "model": scorer.name}
    return pd.concat(tables, ignore_index=True).assign(**known)[IMPORTANCE_COLUMNS].dropna(subset="importance")


def allele_window(row: pd.Series, allele: str, genome: Genome, width: int) -> tuple[Codes, int]:
    """Codes ``[width]`` of one allele's window, and the index of the variant's first base in it."""
    start, before, after = int(row["start"]), str(row["before"]), str(row["after"])
    in_element = row.get("view") == "element" and pd.notna(row.get("distance")) and len(before) == len(after) == 1
    centre = start - int(row["distance"]) if in_element else start
    first = centre - width // 2
    if allele == "ref":
        return genome.codes(row["contig"], first, first + width), start - first
    behind = start + len(before)
    rest = max(width - (start - first) - len(after), 0)
    parts = (
        genome.codes(row["contig"], first, start) if start > first else np.zeros(0, np.uint8),
        encode(after),
        genome.codes(row["contig"], behind, behind + rest) if rest else np.zeros(0, np.uint8),
    )
    return np.concatenate(parts)[:width], start - first


def _every_change(codes: Codes, places: NDArray[np.int64]) -> Codes:
    """The sequence itself, then with each place changed to the next base, the one after and the last: ``[1 + 3 n, width]``."""
    changed = np.repeat(codes[None], 1 + 3 * len(places), axis=0)
    for shift in (1, 2, 3):
        rows = 1 + (shift - 1) * len(places) + np.arange(len(places))
        changed[rows, places] = np.where(codes[places] == N, N, (codes[places] + shift) % 4)
    return changed
