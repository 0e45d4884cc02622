"""Whole runs of the pipeline on a tiny simulated cohort: with names that are programs, twice, and killed."""

import shutil
from pathlib import Path

from helpers.attacks import HOSTILE, Tally, executed
from helpers.pipeline import Run, nextflow
from helpers.tools import run

# A cohort so small that every process runs for seconds.
SIZES = (
    "--individuals 4 --second-libraries 1 --loci 24 --chromosomes 3 --spacing 6000 --mpra-elements 200 "
    "--reads-per-library 4000 --satmut-elements 2 --seed 3"
)
QUICK = (
    "-profile", "test", "--simulate", "false", "--models", "legnet", "--pretrain_epochs", "1", "--finetune_epochs", "1",
    "--bootstraps", "100", "--min_donors", "1", "--max_cpus", "1",
)  # fmt: skip
NAMES = [
    "O'Brien $(touch PWNED)",
    "a`touch PWNED`b",
    "x; touch PWNED",
    "A&B | touch PWNED",
    'quo"ted',
    "$HOME ${PWNED}",
]


def cohort(folder: Path) -> Path:
    """A simulated cohort in ``folder / sim``."""
    done = run(folder, "simulate_cohort", ["--out", "sim", *SIZES.split()])
    if done.returncode:
        raise RuntimeError(done.stderr)
    return folder / "sim"


def inputs_of(sim: Path, names: dict[str, Path] | None = None) -> list[str]:
    """The options that name a cohort's files."""
    names = names or {}
    given = {
        "libraries": "libraries.tsv", "genome": "genome.fa", "variants": "variants.vcf.gz", "mpra": "mpra.tsv",
        "variant_sets": "variant_sets.tsv",
    }  # fmt: skip
    return [part for option, name in given.items() for part in (f"--{option}", str(names.get(option, sim / name)))]


def problems(done: Run, *, may_fail: bool) -> list[tuple[str, str]]:
    """What is wrong with how a run ended."""
    found = []
    if "Traceback" in done.output:
        found.append(("traceback", done.output))
    if done.status and not (may_fail and "error" in done.output.lower()):
        found.append(("not one line", done.output))
    return found


def same_runs(scratch: Path) -> Tally:
    """Two runs of the same inputs: the same SHA256SUMS."""
    tally, sums = Tally("same bytes: whole runs"), []
    sim = cohort(scratch)
    for name in ("first", "second"):
        folder = scratch / name
        folder.mkdir()
        done = nextflow(folder, "run", "PROJECT/main.nf", *QUICK, *inputs_of(sim), "--outdir", "results")
        listing = done.results / "SHA256SUMS"
        sums.append(set(listing.read_text().splitlines()) if listing.is_file() else set())
        tally.note(name, problems(done, may_fail=False))
    differ = sorted({line.split("  ", 1)[1] for line in sums[0] ^ sums[1]})
    tally.note("comparison", [("lost", f"differ: {', '.join(differ)}")] if differ or not sums[0] else [])
    return tally


def hostile_runs(scratch: Path) -> Tally:
    """Runs whose files and folders have hostile names (they end well), and whose cells do (refused, or they end well)."""
    tally = Tally("hostile names and cells: whole runs")
    folder = scratch / "run"
    folder.mkdir()
    sim = cohort(scratch)
    here = scratch / "in $(touch PWNED) 'x'"
    here.mkdir()
    names = {}
    for option, source, name in (
        ("genome", "genome.fa", NAMES[0]), ("variants", "variants.vcf.gz", NAMES[1]), ("libraries", "libraries.tsv", NAMES[2]),
    ):  # fmt: skip
        suffix = source.partition(".")[2]
        names[option] = here / f"{name}.{suffix}"
        shutil.copy(sim / source, names[option])
        for index in (".fai", ".tbi"):
            if (sim / f"{source}{index}").is_file():
                shutil.copy(sim / f"{source}{index}", f"{names[option]}{index}")
    text = names["libraries"].read_text()
    names["libraries"].write_text(text.replace("libraries/", f"{sim}/libraries/"))
    out = "results '$(touch PWNED)' `touch PWNED`"
    done = nextflow(folder, "run", "PROJECT/main.nf", *QUICK, *inputs_of(sim, names), "--outdir", out)
    tally.note("names of files and of the results", problems(done, may_fail=False) + executed(scratch))

    columns = text.splitlines()[0].split("\t")
    for column in ("library", "donor", columns[2]):
        for hostile in HOSTILE:
            rows = [line.split("\t") for line in text.splitlines()]
            rows[1][columns.index(column)] = hostile
            sheet = sim / "hostile.tsv"
            sheet.write_text("\n".join("\t".join(row) for row in rows) + "\n")
            given = inputs_of(sim, {"libraries": sheet})
            done = nextflow(folder, "run", "PROJECT/main.nf", *QUICK, *given, "-stub-run", "--outdir", "stub")
            tally.note(f"{column} {hostile!r}", problems(done, may_fail=True) + executed(scratch))
    for option in (
        "--blacklist",
        "--tss",
        "--trained",
        "--checkpoint",
        "--bowtie2_index",
        "--peaks",
        "--score",
        "--checkpoints",
    ):
        for hostile in HOSTILE[:6]:
            given = [*inputs_of(sim), option, f"{scratch}/{hostile}"]
            done = nextflow(folder, "run", "PROJECT/main.nf", *QUICK, *given, "-stub-run", "--outdir", "stub")
            tally.note(f"{option} {hostile!r}", problems(done, may_fail=True) + executed(scratch))
    return tally
