#!/usr/bin/env python3
"""Time, memory and size of the haplotype store as the cohort grows; prints a table and draws a plot.

usage: haplotype_scaling.py --work FOLDER [--plot FILE.svg] [--donors 50 100 … 3200] [--megabases 4] [--windows 1000] [--repeats 3]

Each cohort is a new simulation with realistic linkage (see cohort.py). Whole processes on one thread; "start" is a run on
one window, to tell the fixed cost of starting from the cost of the data.
"""

import argparse
import json
import sys
from pathlib import Path

from cohort import make_cohort
from haplotypes import ENVIRONMENT, REPOSITORY, run

SERIES = {"CPU seconds": "cpu", "peak MiB": "peak", "store, MB": "store", "haplotypes / distinct": "compression"}


def measure(work: Path, donors: int, megabases: float, windows: int, repeats: int) -> dict[str, float]:
    """One cohort: CPU and wall seconds with and without the start, peak MiB, MB of store and of VCF text."""
    paths = make_cohort(work / str(donors), donors, megabases, windows)
    store = work / str(donors) / "store"
    command = [sys.executable, REPOSITORY / "bin" / "extract_haplotypes.py", "--vcf", paths["vcf"]]
    command += ["--fasta", paths["fasta"], "--out", store]
    one = paths["windows"].with_name("one.bed")
    one.write_text("".join(paths["windows"].read_text().splitlines(keepends=True)[:2]))
    start = sorted(run([*command, "--windows", one])[1] for _ in range(repeats))[repeats // 2]
    runs = [run([*command, "--windows", paths["windows"]]) for _ in range(repeats)]
    wall, cpu, peak = (sorted(values)[repeats // 2] for values in zip(*(result[:3] for result in runs), strict=True))
    facts = json.loads((store / "metadata.json").read_text())
    return {
        "donors": donors,
        "variants": facts["variants"],
        "distinct": facts["distinct_haplotypes"],
        "compression": facts["haplotypes"] / facts["distinct_haplotypes"],
        "wall": wall,
        "cpu": cpu,
        "start": start,
        "data": cpu - start,
        "peak": peak,
        "store": sum(facts["sizes"].values()) / 1e6,
        "vcf": paths["vcf"].stat().st_size / 1e6,
    }


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Four panels against the number of donors; the dotted line grows with the number of donors."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.fonttype"] = "none"
    donors = [row["donors"] for row in rows]
    figure, panels = plt.subplots(1, 4, figsize=(11, 2.6), layout="constrained")
    for panel, (title, key) in zip(panels, SERIES.items(), strict=True):
        values = [row[key] for row in rows]
        panel.plot(donors, values, "o-", color="#1b6ca8", markersize=4)
        panel.plot(donors, [values[0] * n / donors[0] for n in donors], ":", color="#999999")
        panel.set(xscale="log", yscale="log", title=title, xlabel="donors")
        panel.set_ylim(min(values) / 2, max(values) * 4)
        panel.title.set_fontsize(10)
        panel.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--work", type=Path, required=True)
    options.add_argument("--plot", type=Path)
    options.add_argument("--donors", type=int, nargs="+", default=[50, 100, 200, 400, 800, 1600, 3200])
    options.add_argument("--megabases", type=float, default=4)
    options.add_argument("--windows", type=int, default=1000)
    options.add_argument("--repeats", type=int, default=3)
    chosen = options.parse_args()
    ENVIRONMENT["PYTHONPYCACHEPREFIX"] = str(chosen.work / "pyc")
    rows = []
    print("| donors | variants | distinct | × | CPU s | of it start | peak MiB | store MB | vcf.gz MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for donors in chosen.donors:
        row = measure(chosen.work, donors, chosen.megabases, chosen.windows, chosen.repeats)
        rows.append(row)
        figures = f"{row['compression']:.0f} | {row['cpu']:.2f} | {row['start']:.2f} | {row['peak']:.0f}"
        sizes = f"{row['store']:.1f} | {row['vcf']:.1f}"
        print(f"| {donors} | {row['variants']} | {row['distinct']} | {figures} | {sizes} |", flush=True)
    if chosen.plot:
        draw(rows, chosen.plot)


if __name__ == "__main__":
    main()
