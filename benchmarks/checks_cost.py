#!/usr/bin/env python3
"""What share of the processor time of extraction, fine-tuning and scoring goes into checksums and checks of inputs.

    benchmarks/checks_cost.py --results results/demo [--epochs 1]

Each tool runs in this process under cProfile with the clock of the processor, so that other work on the machine does not
count. The checks are ``verify`` of stores, every SHA-256, and the checks of shapes and values when files are opened.
"""

import argparse
import cProfile
import importlib
import os
import pstats
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bin"))
CHECKS = ("verify", "checksum", "sha256", "_check_shapes", "_check", "check_bgzf", "check_index", "_check_reference")


def measured(tool: str, arguments: list[str]) -> tuple[float, float]:
    """Seconds of the processor that a tool takes, and those of its checks."""
    app = importlib.import_module(f"allelegro.cli.{tool}").app
    profile = cProfile.Profile(time.process_time)
    try:
        profile.runcall(app, arguments)
    except SystemExit as leaving:
        if leaving.code:
            raise
    stats = pstats.Stats(profile)
    total = stats.total_tt  # type: ignore[attr-defined]
    checks = 0.0
    for (file, _, name), row in stats.stats.items():  # type: ignore[attr-defined]
        if "allelegro" in file and name in CHECKS:
            # Calls from another check are part of that one.
            checks += sum(times[3] for caller, times in row[4].items() if caller[2] not in CHECKS)
    return total, checks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="results of a run of the pipeline")
    parser.add_argument("--genome", type=Path, required=True)
    parser.add_argument("--variants", type=Path, required=True)
    parser.add_argument("--epochs", default="1")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    results, genome, variants = given.results, str(given.genome), str(given.variants)
    start = next(results.glob("training/pretrained/*/*/model.json")).parent
    trained = next(results.glob("training/finetuned/legnet/*/model.json")).parent
    windows = str(results / "procap" / "windows.bed")
    stores = ["--counts", str(results / "procap" / "counts"), "--haplotypes", str(results / "genotype" / "haplotypes")]
    print("tool\tseconds\tof checks\tshare")
    with tempfile.TemporaryDirectory() as folder:
        for tool, arguments in (
            ("extract_haplotypes", ["--vcf", variants, "--fasta", genome, "--windows", windows, "--threads", "1"]),
            ("finetune_model", [*stores, "--init", str(start), "--epochs", given.epochs]),
            (
                "score_variants",
                ["--checkpoint", str(trained), "--variants", variants, "--fasta", genome, "--all-models"],
            ),
        ):
            total, checks = measured(tool, [*arguments, "--out", f"{folder}/{tool}"])
            print(f"{tool}\t{total:.1f}\t{checks:.2f}\t{checks / total:.2%}", flush=True)


if __name__ == "__main__":
    main()
