"""What the program promises under attack (docs/reliability.md), tried at length: ``make verify``, or one part, ``make verify PART=fuzz``.

Parts: ``fuzz`` (10,000 damaged inputs), ``disk`` (a full disk at many bytes), ``kill`` (four signals at many moments),
``hostile`` (names and values that are programs), ``same`` (two runs, the same bytes), ``scale`` (memory at the edges).
``--share`` makes every part smaller. The last lines are a table of what was tried; the status is 1 when anything failed.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "bin"), str(ROOT / "tests" / "python")]

from helpers import attacks, fuzz  # noqa: E402
from helpers.attacks import FAULTS, Tally, run_cases, scratch_folder  # noqa: E402
from helpers.tools import CALLS  # noqa: E402

CASES = {
    "BAM": 2500, "bigWig": 1500, "VCF": 1500, "haplotype stores": 1500, "counts stores": 1000, "checkpoints": 1000,
    "tables": 1000,
}  # fmt: skip
BYTES = 24  # places at which the disk of a tool is full
MOMENTS = 5  # at which a tool is interrupted, a signal
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
WORKERS = os.cpu_count() or 1


def fuzz_part(world: Path, scratch: Path, share: float) -> list[Tally]:
    """Damaged inputs of every kind."""
    return [
        run_cases(f"fuzz: {kind}", case, range(max(1, int(CASES[kind] * share))), scratch, WORKERS)
        for kind, case in fuzz.kinds(world).items()
    ]


def disk_part(world: Path, scratch: Path, share: float) -> list[Tally]:
    """Every tool on a disk that is full at one byte or another: by a limit of the process, and really where root may mount."""
    n = max(1, int(BYTES * share))
    plan = [(call, place) for call in CALLS for place in range(n)]

    def case(folder: Path, number: int) -> list[tuple[str, str]]:
        call, place = plan[number]
        # More places among few bytes, where a header or the last block is written.
        limit = 0 if place == 0 else int(random.Random(f"{call.tool} {place}").uniform(0, 1) ** 3 * 200_000) + place
        return attacks.full_disk(world, call, limit, folder)

    limited = run_cases("full disk: limit of a process", case, range(len(plan)), scratch, WORKERS)
    return [limited, mounted(world, scratch, n)]


def mounted(world: Path, scratch: Path, n: int) -> Tally:
    """The same on small file systems in memory; only the superuser can mount them."""
    tally = Tally("full disk: small file system")
    folder = scratch / "small"
    folder.mkdir()
    for call in CALLS:
        for place in range(max(1, n // 6)):
            size = 4096 * (1 + place * 6)
            mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
            if subprocess.run(mount, capture_output=True, check=False).returncode:
                tally.skipped = "mounting needs the superuser; the limit of a process was tried instead"
                return tally
            try:
                out = folder / "out"
                arguments = call.arguments(attacks.outputs_of(call, out))
                done = attacks.run_forked(lambda tool=call.tool, given=arguments: attacks.run(world, tool, given))
                found = attacks.faults_of(done) + (attacks.leftovers(out) if out.exists() else [])
                if done.returncode == 1 and out.exists() and any(path.is_file() for path in out.rglob("*")):
                    found.append(("leftover", f"{call.tool} on {size} bytes left {attacks.content(out).keys()}"))
                tally.note(f"{call.tool} on {size} bytes", found)
            finally:
                subprocess.run(["umount", str(folder)], check=True)
    return tally


def kill_part(world: Path, scratch: Path, share: float) -> list[Tally]:
    """Every tool, four signals, at moments spread over its run."""
    n = max(1, int(MOMENTS * share))
    plan = [(call, number, (place + 0.5) / n) for call in CALLS for number in SIGNALS for place in range(n)]

    def case(folder: Path, number: int) -> list[tuple[str, str]]:
        call, which, moment = plan[number]
        return attacks.interrupted(world, call, which, moment, folder)

    return [
        run_cases("signals", case, range(len(plan)), scratch, 1)
    ]  # one at a time: the moments are shares of its time


def hostile_part(world: Path, scratch: Path, share: float) -> list[Tally]:
    """Names of files that are programs, for every input and output of every tool; and a whole run of the pipeline."""
    texts = attacks.HOSTILE[: max(2, int(len(attacks.HOSTILE) * share))]
    plan = [(call, text) for call in CALLS for text in texts]

    def case(folder: Path, number: int) -> list[tuple[str, str]]:
        call, text = plan[number]
        return attacks.hostile_names(world, call, text, folder)

    spoken = [(tool, option, form, text) for tool, option, form in attacks.TEXTS for text in texts]

    def text_case(folder: Path, number: int) -> list[tuple[str, str]]:
        tool, option, form, text = spoken[number]
        return attacks.hostile_text(world, tool, option, form.replace("{}", text), folder)

    tallies = [
        run_cases("hostile names: tools", case, range(len(plan)), scratch, WORKERS),
        run_cases("hostile texts: tools", text_case, range(len(spoken)), scratch, 1),  # one folder is watched
    ]
    if share >= 1:
        import pipeline

        tallies.append(pipeline.hostile_runs(scratch))
    return tallies


def same_part(world: Path, scratch: Path, share: float) -> list[Tally]:
    """Every tool twice, and the whole tiny pipeline twice."""

    def case(folder: Path, number: int) -> list[tuple[str, str]]:
        return attacks.twice(world, CALLS[number], folder)

    tallies = [run_cases("same bytes: tools", case, range(len(CALLS)), scratch, WORKERS)]
    if share >= 1:
        import pipeline

        tallies.append(pipeline.same_runs(scratch))
    return tallies


def scale_part(world: Path, scratch: Path, share: float) -> list[Tally]:
    """Memory of 20,000 donors and of 1,000,000 overlapping windows."""
    import scale

    return [scale.donors(scratch, share), scale.windows(scratch, share)]


PARTS: dict[str, Callable[[Path, Path, float], list[Tally]]] = {
    "fuzz": fuzz_part,
    "disk": disk_part,
    "kill": kill_part,
    "hostile": hostile_part,
    "same": same_part,
    "scale": scale_part,
}


def table_of(tallies: list[Tally], seconds: dict[str, float]) -> str:
    """One row a part: cases and each kind of fault."""
    rows = [["part", "cases", *FAULTS]]
    for tally in tallies:
        found = [f"skipped: {tally.skipped}"] if tally.skipped and not tally.cases else []
        rows.append([tally.part, str(tally.cases), *(found or [str(tally.faults[fault]) for fault in FAULTS])])
    widths = [
        max(len(row[at]) for row in rows if at < len(row) and not row[at].startswith("skipped"))
        for at in range(len(rows[0]))
    ]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]
    return "\n".join([*lines, ", ".join(f"{part} {took:.0f} s" for part, took in seconds.items())])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} [default: all]")
    parser.add_argument(
        "--share", type=float, default=1.0, help="share of the cases (0 to 1); whole pipelines run at 1 only"
    )
    given = parser.parse_args()
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    os.environ["OMP_NUM_THREADS"] = "1"
    tallies: list[Tally] = []
    seconds: dict[str, float] = {}
    with scratch_folder("world") as world, scratch_folder("cases") as scratch:
        attacks.make_world_forked(world)
        attacks.load_tools()
        for part in given.parts or PARTS:
            started = time.monotonic()
            print(f"== {part}", flush=True)
            folder = scratch / part
            folder.mkdir()
            found = PARTS[part](world, folder, given.share)
            for detail in (detail for tally in found for detail in tally.details[:20]):
                print(detail, file=sys.stderr, flush=True)
            tallies += found
            seconds[part] = time.monotonic() - started
    print(table_of(tallies, seconds))
    return int(any(tally.faults for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
