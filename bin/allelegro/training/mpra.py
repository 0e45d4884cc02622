"""lentiMPRA tables: the study's layouts to one training table with constructs, groups and folds that do not leak.

Activity is log2(RNA / DNA). A construct is ``left adaptor + insert + right adaptor`` (15 + 200 + 15 bp in Agarwal et al. 2025).
"""

import logging
import re
from collections.abc import Iterable, Sequence
from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.intervals import Regions
from allelegro.io.contigs import few, match_contigs
from allelegro.io.dna import decode, encode, reverse_complement
from allelegro.io.fasta import Fasta
from allelegro.io.tables import COUNT, FLAG, MISSING, NAME, NUMBER, TEXT, WHOLE, maybe, read_header, read_table
from allelegro.io.windows import read_windows
from allelegro.models.seen import Seen
from allelegro.training.leakage import Groups, similar_sequences
from allelegro.training.settings import LEFT_ADAPTOR, RIGHT_ADAPTOR, MpraSettings

log = logging.getLogger(__name__)


# The names that published layouts give to a column of ours, and what its cells are.
_ALIASES = {
    "seq_id": ("name", "id"), "seq": ("sequence",), "mean_value": ("expression", "activity"), "fold_num": ("fold",),
    "chrom": ("chromosome", "chr"),
}  # fmt: skip
_PLACE = {"chrom": TEXT, "start": maybe(COUNT), "end": maybe(COUNT), "strand": TEXT}
_LAYOUT = {"seq_id": TEXT, "fold_num": WHOLE, "rev": maybe(FLAG), **_PLACE}
ACTIVITY = "mean_value"  # where there is one activity; several have the names of their cell lines
_KINDS = {"seq_id": TEXT, "seq": NAME, "fold_num": WHOLE, "rev": WHOLE, "group": WHOLE}
COORDINATES = list(_PLACE)

ENOUGH = 200  # elements to tell by their sequences whether coordinates are of a genome

# What a name adds to its element's: orientation or allele, then a replicate number.
_SUFFIX = re.compile(r"([_:.-](F|R|fwd|rev|forward|reversed?|ref|alt|\+|-)(:\d+)?)+$", re.IGNORECASE)


def prepare_mpra(path: Path, settings: MpraSettings, exclude: pd.DataFrame | None = None) -> pd.DataFrame:
    """The training table of a lentiMPRA table: ``seq_id seq``, activities, ``fold_num rev group`` and, where known,
    ``COORDINATES`` (0-based, half-open). The activity is ``mean_value``, or several columns by their own names.

    Rows that belong together (orientations, alleles, overlapping tiles) get one ``group``: their coordinates overlap, their names
    differ in orientation or allele alone, or their inserts are alike on either strand. A group is in one fold: given folds are
    kept except for groups they would split, which move to the fold of most of their rows; without folds, groups are distributed.
    ``exclude`` (``chrom start end``) excludes elements that overlap these windows. Raises DataError.
    """
    table = _drop_unusable(_read_layout(path, settings), _kept_as(settings.value_column), path)
    inserts = _inserts(table, settings, path)
    table, inserts = _exclude(table, inserts, exclude, path)
    table["seq"] = [settings.left_adaptor + insert + settings.right_adaptor for insert in inserts]
    table["group"] = find_groups(table, inserts)
    if "fold_num" in table:
        table["fold_num"] = _unsplit(table)
    else:
        table["fold_num"] = deal_folds(table["group"].to_numpy(), settings.folds, settings.seed)
    check_folds(table, path)
    table["rev"] = 0
    places = [column for column in COORDINATES if column in table]
    return table[["seq_id", "seq", *_kept_as(settings.value_column), "fold_num", "rev", "group", *places]]


def _kept_as(columns: Sequence[str]) -> list[str]:
    """The names of activities in a training table."""
    return list(columns) if len(columns) > 1 else [ACTIVITY]


def activity_columns(table: pd.DataFrame | Sequence[str]) -> list[str]:
    """The activities among the columns of a training table: ``mean_value``, or without it all that are none of the others."""
    found = [str(name) for name in table]
    return [ACTIVITY] if ACTIVITY in found else [name for name in found if name not in (*_KINDS, *COORDINATES)]


def _read_layout(path: Path, settings: MpraSettings) -> pd.DataFrame:
    """The columns of ours that a layout has, under our names, and ``row``, counted from 1."""
    values = settings.value_column or (ACTIVITY,)
    for value in values:
        if len(values) > 1 and (value in (*_KINDS, *COORDINATES, ACTIVITY) or values.count(value) > 1):
            raise DataError(f"{path}: --value-column {value} cannot be one of several activities; rename the column")
    wanted = {"seq": NAME, **dict.fromkeys(values, maybe(NUMBER))}
    table = read_table(path, wanted, optional=_LAYOUT, aliases=_ALIASES)
    table = table.rename(columns=dict(zip(values, _kept_as(values), strict=True)))
    table["row"] = np.arange(1, len(table) + 1)
    if not {"chrom", "start", "end"} <= set(table.columns):
        table = table.drop(columns=[column for column in COORDINATES if column in table])
    else:
        inverted = table["row"][(table["end"] <= table["start"]).fillna(False).to_numpy(bool)]
        if len(inverted):
            raise DataError(
                f"{path} row {inverted.iloc[0]}: end is not beyond start; give 0-based, half-open coordinates"
            )
        if lost := int((~placed(table)).sum()):
            log.info("%s: %d of %d rows have no coordinates", path, lost, len(table))
    if "seq_id" not in table:
        table["seq_id"] = [f"seq{row}" for row in table["row"]]
        table["named"] = False
    return table


def placed(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows have coordinates; controls often have none."""
    known = ~table["chrom"].isin(MISSING) & table["start"].notna() & table["end"].notna()
    return known.to_numpy(bool)


def _drop_unusable(table: pd.DataFrame, activities: list[str], path: Path) -> pd.DataFrame:
    """Exclude copies that are reverse complements of measured rows, and rows without any activity; counted."""
    table[activities] = table[activities].replace([np.inf, -np.inf], np.nan)
    reasons = {"no activity": table[activities].isna().all(axis=1)}
    if "rev" in table:
        reasons["reverse-complement copy of a measured row"] = _copies(table, activities)
    for reason, drop in reasons.items():
        if drop.any():
            log.info("%s: %d of %d rows excluded: %s", path, drop.sum(), len(table), reason)
        if drop.all():
            raise DataError(f"{path}: every row was excluded: {reason}")
    keep = ~np.logical_or.reduce([drop.to_numpy() for drop in reasons.values()])
    if not keep.any():
        raise DataError(f"{path}: every row was excluded: {' or '.join(reasons)}")
    kept: pd.DataFrame = table.loc[keep].reset_index(drop=True)
    return kept


def _copies(table: pd.DataFrame, activities: list[str]) -> "pd.Series[bool]":
    """Rows with ``rev`` 1 that are the reverse complement of a row with ``rev`` 0 and have its activities.

    Some layouts carry such copies for augmentation; in others ``rev`` 1 is an orientation measured by itself, which stays.
    """
    values = pd.Series([tuple(row) for row in table[activities].itertuples(index=False)], index=table.index)
    measured = table["rev"] == 0
    known = {(str(seq).upper(), value) for seq, value in zip(table["seq"][measured], values[measured], strict=True)}
    reverse = [decode(reverse_complement(encode(str(sequence)))) for sequence in table["seq"]]
    pairs = zip(reverse, values, strict=True)
    return (table["rev"] == 1) & pd.Series([pair in known for pair in pairs], index=table.index)


def _inserts(table: pd.DataFrame, settings: MpraSettings, path: Path) -> list[str]:
    """Inserts without adaptors, of one length; raises DataError naming the first odd row."""
    sequences = table["seq"].astype(str).str.upper()
    bad = sequences.str.contains("[^ACGTN]", regex=True)
    if bad.any():
        row = table["row"][bad].iloc[0]
        raise DataError(f"{path} row {row}: the sequence has letters other than A, C, G, T, N; correct or remove it")
    whole = sequences.str.startswith(settings.left_adaptor) & sequences.str.endswith(settings.right_adaptor)
    if whole.any() and not whole.all():
        row = table["row"][~whole].iloc[0]
        raise DataError(
            f"{path} row {row}: adaptors are missing although other rows have them; give all rows or none their adaptors"
        )
    if whole.all():
        end = -len(settings.right_adaptor) or None
        sequences = sequences.str.slice(len(settings.left_adaptor), end)
    lengths = sequences.str.len()
    odd = lengths != lengths.mode()[0]
    if odd.any():
        row = table["row"][odd].iloc[0]
        raise DataError(
            f"{path} row {row}: the insert is {lengths[odd].iloc[0]} bp, most are {lengths.mode()[0]} bp; "
            "remove rows of other lengths"
        )
    return sequences.tolist()


def _exclude(
    table: pd.DataFrame, inserts: list[str], windows: pd.DataFrame | None, path: Path
) -> tuple[pd.DataFrame, list[str]]:
    if windows is None:
        return table, inserts
    drop = overlapping(table, windows, path)
    log.info("%s: %d of %d rows excluded: they overlap excluded windows", path, drop.sum(), len(table))
    if drop.all():
        raise DataError(f"{path}: every row overlaps the excluded windows; exclude fewer folds")
    kept = [insert for insert, dropped in zip(inserts, drop, strict=True) if not dropped]
    return table[~drop].reset_index(drop=True), kept


def unplaced(table: pd.DataFrame, windows: pd.DataFrame) -> str | None:
    """Why the rows of a table cannot be compared with windows by position, or None when they can."""
    if "chrom" not in table:
        return "no columns chrom, start, end, so overlap with windows cannot be found; add them"
    if not any(match_contigs(table["chrom"].unique(), windows["chrom"].unique()).values()):
        names = table["chrom"].unique()
        return (
            f"no chromosome in common with the windows ({few(names)} against {windows['chrom'].iloc[0]}); "
            "use files of one assembly"
        )
    return None


def overlapping(table: pd.DataFrame, windows: pd.DataFrame, path: Path) -> NDArray[np.bool_]:
    """Which rows of a table with coordinates overlap a window by at least 1 bp; rows without coordinates do not.

    The study's tables write chromosomes as 1, 2, …; they match windows on chr1, chr2, … as well. Raises DataError when the table
    has no coordinates or the two have no chromosome in common.
    """
    problem = unplaced(table, windows)
    if problem:
        raise DataError(f"{path}: {problem}")
    result, rows, regions = np.zeros(len(table), bool), placed(table), Regions.of(windows)
    here = table.iloc[rows]
    chroms = here["chrom"].map(match_contigs(here["chrom"].unique(), regions.by_contig)).to_numpy()
    starts, ends = here["start"].to_numpy(np.int64), here["end"].to_numpy(np.int64)
    result[rows] = regions.overlap_rows(chroms, starts, ends)
    return result


def genomic(table: pd.DataFrame) -> NDArray[np.uint8]:
    """Codes of a training table's inserts ``[n, width]``: constructs without their adaptors."""
    whole = table["seq"].str.startswith(LEFT_ADAPTOR).all() and table["seq"].str.endswith(RIGHT_ADAPTOR).all()
    end = -len(RIGHT_ADAPTOR) if whole else None
    return sequences_to_codes(table["seq"].str.slice(len(LEFT_ADAPTOR) if whole else 0, end))


def on_genome(table: pd.DataFrame, genome: Path, path: Path) -> pd.DataFrame:
    """The table without the coordinates that are not of this genome: all of them when the table is of another assembly.

    Told by the elements themselves: of those looked at, most must have the sequence that the genome has there.
    """
    table = table.drop(columns="strand", errors="ignore")
    if "chrom" not in table or not placed(table).any():
        return table.drop(columns=["chrom", "start", "end"], errors="ignore")
    rows = np.flatnonzero(placed(table))
    rows = rows[:: max(1, len(rows) // ENOUGH)]
    if _agreement(table.iloc[rows], genome) > 0.5:
        return table
    log.warning(
        "%s: its coordinates are not of %s, which has other sequences there; elements are compared with windows by "
        "sequence",
        path,
        genome,
    )
    return table.drop(columns=["chrom", "start", "end"])


def _agreement(table: pd.DataFrame, genome: Path) -> float:
    """Share of elements that are like what the genome has at their place, on either strand."""
    with Fasta(genome) as fasta:
        names = match_contigs(table["chrom"].unique(), fasta.lengths)
        contigs = [names[chrom] for chrom in table["chrom"]]
        starts, ends = table["start"].to_numpy(np.int64), table["end"].to_numpy(np.int64)
        alike = []
        for contig, start, end, codes in zip(contigs, starts, ends, genomic(table), strict=True):
            if contig is None:  # a contig of neither this assembly nor, perhaps, another
                continue
            if end > fasta.lengths[contig]:
                alike.append(False)
                continue
            there = Seen.training(fasta.codes(contig, int(start), int(end))[None], None)
            alike.append(bool(there.saw_sequences(codes[None])[0]))
    return float(np.mean(alike)) if alike else 0.0


def like_windows(table: pd.DataFrame, windows: pd.DataFrame, genome: Path) -> NDArray[np.bool_]:
    """Which rows have a sequence like that of a window, on either strand (see :mod:`allelegro.models.seen`)."""
    with Fasta(genome) as fasta:
        places = zip(windows["chrom"], windows["start"], windows["end"], strict=True)
        sequences = [fasta.codes(str(chrom), int(start), int(end)) for chrom, start, end in places]
    widths = {len(codes) for codes in sequences}
    known = [Seen.training(np.stack([s for s in sequences if len(s) == width]), None) for width in widths]
    seen = reduce(Seen.plus, known, Seen.nothing())
    return seen.saw_sequences(genomic(table))


def find_groups(table: pd.DataFrame, inserts: Sequence[str]) -> NDArray[np.int64]:
    """Group numbers ``[rows]`` from coordinates, names and sequences; numbered by first row."""
    groups = Groups(len(table))
    if "chrom" in table:
        _join_overlapping(groups, table)
    if "named" not in table:
        groups.join_equal(np.asarray([_SUFFIX.sub("", str(name)) for name in table["seq_id"]]))
    codes = np.stack([encode(insert) for insert in inserts])
    reverse = reverse_complement(codes)
    groups.join_equal(np.asarray([min(a.tobytes(), b.tobytes()) for a, b in zip(codes, reverse, strict=True)]))
    first, second = similar_sequences(codes)
    groups.join(first, second)
    labels = groups.labels()
    sizes = np.bincount(labels)
    log.info("%d groups in %d rows, the largest of %d", len(sizes), len(labels), sizes.max())
    return labels


def _join_overlapping(groups: Groups, table: pd.DataFrame) -> None:
    known = np.flatnonzero(placed(table))
    chrom, start, end = (table[column].to_numpy()[known] for column in ("chrom", "start", "end"))
    order = np.lexsort((start.astype(np.int64), chrom.astype(str)))
    chrom, start, end, order = chrom[order], start[order].astype(np.int64), end[order].astype(np.int64), known[order]
    reach = pd.Series(end).groupby(pd.Series(chrom)).cummax().to_numpy()
    joined = (chrom[1:] == chrom[:-1]) & (start[1:] < reach[:-1])
    groups.join(order[:-1][joined], order[1:][joined])


def _unsplit(table: pd.DataFrame) -> NDArray[np.int64]:
    """Given folds, with every group that they split moved to the fold of most of its rows."""
    folds = table["fold_num"].astype(np.int64)
    majority = folds.groupby(table["group"]).transform(lambda part: part.mode().iloc[0])
    moved = folds != majority
    if moved.any():
        log.warning(
            "%d rows of %d groups that the given folds split were moved to the fold of the rest of their group",
            moved.sum(),
            table["group"][moved].nunique(),
        )
    return majority.to_numpy(np.int64)


def deal_folds(groups: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Folds 1 to ``folds`` of nearly equal size; the rows of a group share one."""
    sizes = np.bincount(groups)
    if len(sizes) < folds:
        raise DataError(f"{len(sizes)} groups cannot fill {folds} folds; lower --folds")
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled, fold_of = np.zeros(folds, np.int64), np.empty(len(sizes), np.int64)
    for group in order:
        emptiest = filled.argmin()
        fold_of[group] = emptiest + 1
        filled[emptiest] += sizes[group]
    return fold_of[groups]


def check_folds(table: pd.DataFrame, path: Path) -> None:
    """Raise DataError when a group is in more than one fold."""
    spread = table.groupby("group")["fold_num"].nunique()
    if (spread > 1).any():
        group = spread.index[spread > 1][0]
        name = table.loc[table["group"] == group, "seq_id"].iloc[0]
        raise DataError(
            f"{path}: group {group} (with {name}) is in several folds, so training would see its test elements; "
            "prepare the table again with prepare_mpra.py"
        )


def read_training_table(path: Path) -> pd.DataFrame:
    """Read what :func:`prepare_mpra` wrote; raises DataError when columns, widths, numbers or folds are wrong.

    Of several activities (:func:`activity_columns`) a row may have some only: NaN where there is none.
    """
    activities = activity_columns(read_header(path)) or [ACTIVITY]
    kind = maybe(NUMBER) if len(activities) > 1 else NUMBER
    table = read_table(path, {**_KINDS, **dict.fromkeys(activities, kind)}, optional=_PLACE)
    widths = table["seq"].str.len()
    if widths.nunique() != 1:
        row = int((widths != widths.iloc[0]).to_numpy().argmax())
        raise DataError(f"{path} row {row + 1}: sequence of {widths.iloc[row]} bp, the first has {widths.iloc[0]} bp")
    check_folds(table, path)
    return table


def sequences_to_codes(sequences: Iterable[str]) -> NDArray[np.uint8]:
    """Codes ``[n, width]`` of sequences of one length."""
    return np.stack([encode(sequence) for sequence in sequences])


def held_out_windows(paths: Sequence[Path], folds: Sequence[int]) -> pd.DataFrame | None:
    """Windows of these folds in all files; None without files. Raises DataError when a file has none of the folds."""
    parts = []
    for path in paths:
        windows = read_windows(path)
        part = windows[windows["fold"].isin(folds)]
        if part.empty:
            raise DataError(
                f"{path}: no windows in folds {', '.join(map(str, folds))}; its folds are "
                f"{sorted(windows['fold'].unique().tolist())}"
            )
        parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else None


def report_overlap(table: pd.DataFrame, windows_path: Path, path: Path) -> None:
    """Say how many rows of the table overlap the windows of each fold, or that this cannot be known."""
    problem = unplaced(table, read_windows(windows_path))
    if problem:
        log.warning("%s: %s", path, problem)
        return
    for fold, windows in read_windows(windows_path).groupby("fold"):
        shared = overlapping(table, windows, path)
        log.info("%d of %d rows overlap windows of fold %s in %s", shared.sum(), len(table), fold, windows_path)
