"""The published PINTS caller (Yao et al. 2022, doi:10.1038/s41587-022-01211-7) run as it is, its answer in our formats."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from allelegro.errors import DataError
from allelegro.intervals import Ints
from allelegro.io.atomic import apart
from allelegro.io.bigwig import write_bigwig
from allelegro.io.signal import Counts, StrandedSignal
from allelegro.procap.elements import ELEMENT_COLUMNS
from allelegro.procap.peaks import PEAK_COLUMNS, bed_score
from allelegro.resources import end_with_parent

Row = dict[str, object]


def call_with_pints(
    plus: Path, minus: Path, fdr: float, max_pair_distance: int, threads: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Peaks and divergent elements called by ``pints_caller``.

    PINTS gives no q-value for the two strands of a pair: they carry ``fdr``, the bound under which it reports them. The
    interval of such a strand is what it occupies of the pair's interval on its side of the middle, its summit the highest of
    its start sites.
    Raises DataError when ``pints_caller`` is not on PATH or fails.
    """
    tool = shutil.which("pints_caller")
    if tool is None:
        raise DataError("pints_caller is not on PATH; install pyPINTS 1.2.1 or use --caller allelegro")
    signal = StrandedSignal((plus, minus))
    contigs = signal.contigs
    counts = {
        strand: {contig: signal.strand(number, contig) for contig in contigs} for number, strand in enumerate("+-")
    }
    with tempfile.TemporaryDirectory() as name, apart():
        folder = Path(name)
        command = [tool, "--file-prefix", "pints", "--save-to", name, "--thread", str(threads)]
        command += ["--fdr-target", str(fdr), "--close-threshold", str(max_pair_distance), "--dont-check-updates"]
        for option, strand in (("--bw-pl", "+"), ("--bw-mn", "-")):
            path = folder / f"{option[2:]}.bw"
            write_bigwig(path, contigs, counts[strand])
            command += [option, str(path)]
        run = subprocess.run(command, capture_output=True, text=True, preexec_fn=end_with_parent)
        if run.returncode:
            last = (run.stderr.strip() or run.stdout.strip() or "no message").splitlines()[-1]
            raise DataError(f"pints_caller failed on {plus} and {minus}: {last}")
        peaks = [peak for pair in _pairs(folder, "bidirectional", counts, fdr) for peak in pair]
        peaks += _single(folder)
        elements = [_element(*pair) for pair in _pairs(folder, "divergent", counts, fdr)]
    return _table(peaks, PEAK_COLUMNS, "peak", contigs), _table(elements, ELEMENT_COLUMNS, "element", contigs)


def _lines(folder: Path, kind: str) -> list[list[str]]:
    paths = sorted(folder.glob(f"pints*_{kind}_peaks.bed"))
    return [line.split("\t") for path in paths for line in path.read_text().splitlines() if line[:1] != "#"]


def _pairs(folder: Path, kind: str, counts: dict[str, dict[str, Counts]], fdr: float) -> list[tuple[Row, Row]]:
    found = []
    for line in _lines(folder, kind):
        chrom, start, end = line[0], int(line[1]), int(line[2])
        plus, minus = (np.array([int(site) for site in column.split(",")]) for column in line[4:6])
        middle = int(plus.mean() + minus.mean()) // 2
        left, right = (start, middle), (middle, end)
        sides = (right, left) if plus.mean() >= minus.mean() else (left, right)
        found.append(
            (
                _peak(chrom, "+", plus, sides[0], counts["+"][chrom], fdr),
                _peak(chrom, "-", minus, sides[1], counts["-"][chrom], fdr),
            )
        )
    return found


def _peak(chrom: str, strand: str, sites: Ints, side: tuple[int, int], counts: Counts, fdr: float) -> Row:
    """One strand of a pair: what it occupies on its side of the middle, and the highest of its start sites."""
    low, high = np.searchsorted(counts.positions, side)
    occupied = np.append(counts.positions[low:high], sites)
    height = [int(counts.counts[counts.positions == site].sum()) for site in sites]
    return {
        "chrom": chrom, "start": int(occupied.min()), "end": int(occupied.max()) + 1, "strand": strand, "qvalue": fdr,
        "reads": int(counts.counts[low:high].sum()), "summit": int(sites[np.argmax(height)]),
    }  # fmt: skip


def _single(folder: Path) -> list[Row]:
    return [
        {"chrom": f[0], "start": int(f[1]), "end": int(f[2]), "strand": f[5], "qvalue": float(f[4]), "reads": int(float(f[6])),
         "summit": int(f[7])}
        for f in _lines(folder, "unidirectional")
    ]  # fmt: skip


def _element(plus: Row, minus: Row) -> Row:
    ends = [int(str(strand[key])) for strand in (plus, minus) for key in ("start", "end")]
    return plus | {
        "start": min(ends), "end": max(ends), "strand": ".",
        "reads": int(str(plus["reads"])) + int(str(minus["reads"])),
        "summit": (int(str(plus["summit"])) + int(str(minus["summit"]))) // 2,
        "plus_summit": plus["summit"], "minus_summit": minus["summit"],
    }  # fmt: skip


def _table(rows: list[Row], columns: list[str], kind: str, contigs: dict[str, int]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=columns).drop_duplicates(["chrom", "start", "end", "strand"])
    rank = table["chrom"].map({contig: number for number, contig in enumerate(contigs)})
    table = table.iloc[np.lexsort((table["start"], rank))].reset_index(drop=True)
    table["name"] = [f"{kind}_{number}" for number in range(1, len(table) + 1)]
    table["score"] = bed_score(table["qvalue"].to_numpy(np.float64))
    return table
