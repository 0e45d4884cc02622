#!/usr/bin/env python3
"""Personal sequences of a cohort: from vcf.gz to sequences, and serving them shuffled, alongside GenVarLoader.

usage: haplotypes.py --work FOLDER [--peer PYTHON] [--donors 100] [--megabases 20] [--windows 5000]
       [--repeats 3] [--routes svar2 vcf.gz] [--cyvcf2]

Every figure is that of whole processes, start and imports included; the median of the repeats. We run on one thread,
GenVarLoader with its own defaults.
GenVarLoader's route is the building of its variant store, the writing of its dataset and one full read. With
``--cyvcf2`` the same extraction is timed with genotypes read by cyvcf2.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "bin"))
# Both sides start from compiled Python files, as after any first use, also where the environment forbids writing them.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

ARRAYS = ("sequences.npy", "index.npy", "alleles.npy", "variants.tsv")
PEER_ROUTES = {"svar2": ["build", "write", "read"], "vcf.gz": ["write-vcf", "read"]}


def run(command: list[object]) -> tuple[float, float, float, str]:
    """Wall seconds, CPU seconds, peak MiB and standard output of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    timed = ["/usr/bin/env", "python3", "-c", _CHILD, *map(str, command)]
    done = subprocess.run(timed, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    output, _, peak = done.stdout.rstrip("\n").rpartition("\n")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, float(peak), output


_CHILD = (
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
    "print(); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024); sys.exit(code)"
)


def serve(store_path: Path) -> float:
    """Haplotypes per second in shuffled batches of 32 donors × windows, each batch one array [32, 2, width]."""
    import numpy as np

    from allelegro.genotype.store import HaplotypeStore

    store = HaplotypeStore(store_path)
    pairs = np.random.default_rng(0).permutation(len(store) * len(store.donors))
    windows, donors = np.unravel_index(pairs, (len(store), len(store.donors)))
    out = np.empty((32, 2, store.width), np.uint8)
    begin = time.perf_counter()
    for i in range(0, len(pairs) - 31, 32):
        store.haplotypes(windows[i : i + 32], donors[i : i + 32], out=out)
    return 2 * len(pairs) / (time.perf_counter() - begin)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--work", type=Path, required=True)
    options.add_argument("--peer", type=Path)
    options.add_argument("--donors", type=int, default=100)
    options.add_argument("--megabases", type=float, default=20)
    options.add_argument("--windows", type=int, default=5000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--routes", nargs="+", choices=PEER_ROUTES, default=list(PEER_ROUTES))
    options.add_argument("--cyvcf2", action="store_true")
    chosen = options.parse_args()
    from cohort import make_cohort

    ENVIRONMENT["PYTHONPYCACHEPREFIX"] = str(chosen.work / "pyc")
    paths = make_cohort(chosen.work, chosen.donors, chosen.megabases, chosen.windows)
    bed = chosen.work / "peaks.bed"
    bed.write_text("".join("\t".join(line.split()[:3]) + "\n" for line in paths["windows"].open() if line[0] != "#"))
    store = chosen.work / "store"
    ours_command = [sys.executable, REPOSITORY / "bin" / "extract_haplotypes.py", "--vcf", paths["vcf"]]
    ours_command += ["--fasta", paths["fasta"], "--windows", paths["windows"], "--out", store]
    run(ours_command)  # compile the kernels once, as an installation does
    peer_script = Path(__file__).with_name("haplotypes_genvarloader.py")
    routes = {route: PEER_ROUTES[route] for route in chosen.routes} if chosen.peer else {}
    by_cyvcf2 = [
        sys.executable,
        Path(__file__).with_name("haplotypes_cyvcf2.py"),
        *ours_command[2:-1],
        f"{store}-cyvcf2",
    ]
    ours, cyvcf2, served, peers, peer_served = [], [], [], {route: [] for route in routes}, []
    if chosen.peer:
        for step in ("svar", "write-svar", *(step for steps in routes.values() for step in steps)):
            run([chosen.peer, "-P", peer_script, step, chosen.work])
    for _ in range(chosen.repeats):
        ours.append(run(ours_command)[:3])
        if chosen.cyvcf2:
            cyvcf2.append(run(by_cyvcf2)[:3])
        served.append(serve(store))
        for route, steps in routes.items():
            parts = [run([chosen.peer, "-P", peer_script, step, chosen.work]) for step in steps]
            peers[route].append((sum(p[0] for p in parts), sum(p[1] for p in parts), max(p[2] for p in parts)))
        if chosen.peer:
            run([chosen.peer, "-P", peer_script, "svar", chosen.work])
            run([chosen.peer, "-P", peer_script, "write-svar", chosen.work])
            peer_served.append(float(run([chosen.peer, "-P", peer_script, "serve", chosen.work])[3].split()[-1]))
    wall, cpu, peak = (statistics.median(values) for values in zip(*ours, strict=True))
    print(f"allelegro    vcf.gz to store  {wall:6.2f} s wall  {cpu:6.2f} s CPU  {peak:5.0f} MiB")
    if cyvcf2:
        other = [statistics.median(column) for column in zip(*cyvcf2, strict=True)]
        print(
            f"by cyvcf2    vcf.gz to store  {other[0]:6.2f} s wall  {other[1]:6.2f} s CPU  {other[2]:5.0f} MiB", end=""
        )
        same = all((store / name).read_bytes() == Path(f"{store}-cyvcf2", name).read_bytes() for name in ARRAYS)
        print(f"   {other[0] / wall:.2f} times ours; the stores are {'the same' if same else 'DIFFERENT'}")
    for route, values in peers.items():
        other = [statistics.median(column) for column in zip(*values, strict=True)]
        print(f"GenVarLoader {route:16s} {other[0]:6.2f} s wall  {other[1]:6.2f} s CPU  {other[2]:5.0f} MiB", end="")
        print(f"   ratio {wall / other[0]:.3f} wall, {cpu / other[1]:.3f} CPU")
    print(f"allelegro    serves shuffled batches of 32: {statistics.median(served):12,.0f} haplotypes/s")
    if peer_served:
        theirs = statistics.median(peer_served)
        print(f"GenVarLoader serves shuffled batches of 32: {theirs:12,.0f} haplotypes/s", end="")
        print(f"   ratio {statistics.median(served) / theirs:.2f}")


if __name__ == "__main__":
    main()
