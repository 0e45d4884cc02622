"""Personal sequences as FASTA, so that any other tool can use them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pysam

from allelegro.errors import DataError
from allelegro.genotype.store import HaplotypeStore
from allelegro.io.atomic import atomic_path
from allelegro.io.dna import decode
from allelegro.progress import track


def choose_windows(store: HaplotypeStore, names: Sequence[str] | None) -> list[int]:
    """Windows by name, in the order asked for; raises DataError for a name that the store lacks."""
    if names is None:
        return list(range(len(store)))
    places = {name: place for place, name in enumerate(store.windows["name"])}
    unknown = [name for name in names if name not in places]
    if unknown:
        raise DataError(
            f"{store.folder}: window {unknown[0]} is not in the store; names are in its windows.bed, column 4"
        )
    return [places[name] for name in names]


def export_fasta(
    store: HaplotypeStore, path: Path, donors: Sequence[str] | None, windows: Sequence[str] | None, distinct: bool
) -> None:
    """Write the chosen haplotypes to ``path`` (bgzip-compressed when it ends in .gz).

    Record names are ``window|donor|1`` and ``window|donor|2`` with the window's place (1-based) and the haplotype's row
    behind; with ``distinct``, ``window|row`` once a distinct haplotype that a chosen donor carries, with its carriers.
    """
    chosen = [store.donor(name) for name in (store.donors if donors is None else donors)]
    places = choose_windows(store, windows)
    with atomic_path(path) as partial:
        compressed = path.suffix == ".gz"
        with pysam.BGZFile(str(partial), "w", None) if compressed else partial.open("wb") as handle:
            for window in track(places, "windows"):
                records = _distinct(store, window, chosen) if distinct else _personal(store, window, chosen)
                handle.write("".join(records).encode())


def _place(store: HaplotypeStore, window: int) -> tuple[str, str]:
    row = store.windows.iloc[window]
    return str(row["name"]), f"{row['chrom']}:{row['start'] - store.flank + 1}-{row['end'] + store.flank}"


def _personal(store: HaplotypeStore, window: int, donors: list[int]) -> Iterator[str]:
    name, place = _place(store, window)
    sequences = [decode(codes) for codes in store.distinct(window)]
    for donor, pair in zip(donors, store.index[window, donors].tolist(), strict=True):
        for copy, row in enumerate(pair, 1):
            yield f">{name}|{store.donors[donor]}|{copy} {place} row={row}\n{sequences[row]}\n"


def _distinct(store: HaplotypeStore, window: int, donors: list[int]) -> Iterator[str]:
    name, place = _place(store, window)
    rows, carriers = np.unique(store.index[window, donors], return_counts=True)
    for row, n in zip(rows.tolist(), carriers.tolist(), strict=True):
        yield f">{name}|{row} {place} haplotypes={n}\n{decode(store.distinct(window)[row])}\n"
