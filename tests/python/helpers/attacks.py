"""Attacks on the tools: many cases in forked workers, and what each case may not do.

A worker is forked from a process that has imported the tools and computed nothing, so that ten thousand cases cost
seconds of start and a crash ends one case. Used by ``tests/python/test_reliability.py`` (a few cases of each kind) and by
``tests/verify/run_all.py`` (all of them).
"""

import contextlib
import hashlib
import importlib
import multiprocessing
import os
import resource
import shutil
import signal
import struct
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path

from helpers.tools import CALLS, Call, Done, make_world, run

FAULTS = ("executed", "lost", "traceback", "signal", "leftover", "hang", "not one line")
LONGEST = 120.0  # seconds a case may take
Case = Callable[[Path, int], "list[tuple[str, str]]"]  # an empty folder, a number → faults with their details


@dataclass
class Tally:
    """What the cases of one part showed."""

    part: str
    cases: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    details: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    skipped: str = ""

    def note(self, case: object, found: Sequence[tuple[str, str]]) -> None:
        """Count a case and its faults."""
        self.cases += 1
        for fault, detail in found:
            self.faults[fault] += 1
            self.details.append(f"{self.part} case {case}: {fault}: {detail[-600:]}")


def faults_of(done: Done, *, lines: int = 1) -> list[tuple[str, str]]:
    """What is wrong with how a tool ended: it may succeed, or say what is wrong in at most ``lines`` lines of error."""
    found = []
    if done.returncode < 0:
        found.append(("signal", signal.Signals(-done.returncode).name))
    if "Traceback (most recent call last)" in done.stderr:
        found.append(("traceback", done.stderr))
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    if done.returncode not in (0, 1) and done.returncode > 0:
        found.append(("not one line", f"exit {done.returncode}: {done.stderr}"))
    elif done.returncode == 1 and not found and not 1 <= len(errors) <= lines:
        found.append(("not one line", f"{len(errors)} lines of error: {done.stderr}"))
    return found


def leftovers(folder: Path) -> list[tuple[str, str]]:
    """Temporary files and folders that are still there."""
    names = [str(path.relative_to(folder)) for path in folder.rglob(".*") if not path.name.startswith(".allelegro-")]
    return [("leftover", ", ".join(sorted(names)))] if names else []


def content(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def load_tools() -> None:
    """Import what the tools import, so that forked workers need not."""
    for call in CALLS:
        importlib.import_module(f"allelegro.cli.{call.tool}")
    for name in (
        "effects.benchmark", "effects.score_set", "effects.saturation", "genotype.extract", "genotype.summary",
        "genotype.export", "inputs.check", "models.checkpoint", "procap.coverage", "procap.peaks", "procap.elements",
        "procap.windows", "procap.counts", "procap.qc", "procap.donors", "report.build", "training.mpra",
        "training.pretrain", "training.finetune", "training.evaluate", "effects.kmers",
    ):  # fmt: skip
        importlib.import_module(f"allelegro.{name}")


def make_world_forked(folder: Path) -> None:
    """The inputs of every tool, made in a process of its own: a fork of one that has computed may hang in its threads."""
    maker = multiprocessing.get_context("fork").Process(target=make_world, args=(folder,))
    maker.start()
    maker.join()
    if maker.exitcode:
        raise RuntimeError("the inputs of the tools could not be made")


def outputs_of(call: Call, out: Path) -> dict[str, str]:
    """The outputs of a call, moved into the folder ``out``."""
    return {option: str(out / Path(path).name) for option, path in call.outputs.items()}


def run_forked(work: Callable[[], Done], limits: Callable[[], None] = lambda: None, longest: float = LONGEST) -> Done:
    """Run a tool in a fork of its own, after ``limits``; the status is negative where a signal ended it."""
    here, there = multiprocessing.Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            limits()
            there.send(work())
        except BaseException:
            there.send(Done(1, traceback.format_exc()))
        os._exit(0)
    there.close()
    done: Done | None = None
    if here.poll(longest):
        with contextlib.suppress(EOFError):
            done = here.recv()
    else:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    here.close()
    if done is not None:
        return done
    return Done(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else 99, "")


# ----------------------------------------------------------------------------------------------------- many cases


def run_cases(part: str, case: Case, numbers: Sequence[int], scratch: Path, workers: int = 1) -> Tally:
    """Run cases in forked workers; a worker that dies or hangs is replaced, and the case it had is at fault."""
    tally, waiting = Tally(part), list(reversed(numbers))
    pool: dict[Connection, tuple[int, int, float]] = {}  # pipe → process, its case, since when

    def start() -> None:
        here, there = multiprocessing.Pipe()
        child = os.fork()
        if child == 0:
            here.close()
            for other in pool:
                other.close()
            _serve(case, there, scratch)
            os._exit(0)
        there.close()
        give(here, child)

    def give(pipe: Connection, child: int) -> None:
        if waiting:
            number = waiting.pop()
            pipe.send(number)
            pool[pipe] = (child, number, time.monotonic())
        else:
            pool.pop(pipe, None)
            pipe.close()
            os.waitpid(child, 0)

    for _ in range(min(workers, len(numbers))):
        start()
    while pool:
        for ready in wait(list(pool), timeout=1.0):
            assert isinstance(ready, Connection)
            child, number, _ = pool[ready]
            try:
                tally.note(number, ready.recv())
                give(ready, child)
            except (EOFError, ConnectionError):
                pool.pop(ready)
                _, status = os.waitpid(child, 0)
                what = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status >> 8}"
                tally.note(number, [("signal", what)])
                ready.close()
                if waiting:
                    start()
        for pipe, (child, number, since) in list(pool.items()):
            if time.monotonic() - since > LONGEST:
                pool.pop(pipe)
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                pipe.close()
                tally.note(number, [("hang", f"more than {LONGEST:.0f} s")])
                if waiting:
                    start()
    return tally


def _serve(case: Case, pipe: Connection, scratch: Path) -> None:
    """A worker: each case in an empty folder of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folder = scratch / f"worker{os.getpid()}"
    while True:
        try:
            number = pipe.recv()
        except EOFError:
            shutil.rmtree(folder, ignore_errors=True)
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            found = case(folder, number)
        except BaseException:
            found = [("traceback", traceback.format_exc())]
        pipe.send(found)


# ------------------------------------------------------------------------------------------------------- full disk


def full_disk(world: Path, call: Call, limit: int, folder: Path) -> list[tuple[str, str]]:
    """Run a call that may write files of at most ``limit`` bytes; old outputs must survive, nothing half be left.

    The size limit of a process (RLIMIT_FSIZE) is a full disk that needs no superuser: a write fails at that byte.
    """
    out = folder / "out"
    out.mkdir()
    arguments = call.arguments(outputs_of(call, out))
    first = run_forked(lambda: run(world, call.tool, arguments))
    before = content(out)

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = run_forked(lambda: run(world, call.tool, arguments), limits)
    found = faults_of(done) + leftovers(out)
    if first.returncode:
        found.append(("not one line", f"the call itself fails: {first.stderr}"))
    after = content(out)
    if done.returncode == 1 and after != before:
        found.append(("lost", f"{call.tool} at {limit} bytes: {sorted(set(before.items()) ^ set(after.items()))}"))
    if done.returncode == 0 and after.keys() != before.keys():
        found.append(("lost", f"{call.tool} at {limit} bytes succeeded without {sorted(before.keys() ^ after.keys())}"))
    return found


# --------------------------------------------------------------------------------------------------------- signals


def interrupted(world: Path, call: Call, number: signal.Signals, moment: float, folder: Path) -> list[tuple[str, str]]:
    """Run a call whose outputs are there already and send a signal after a share of its time.

    Outputs are the old or the new ones, whole; nothing else is left, no process either. What ``kill -9`` leaves is
    gone after the next call that ends.
    """
    out = folder / "out"
    out.mkdir()
    arguments = call.arguments(outputs_of(call, out))
    started = time.monotonic()
    run_forked(lambda: run(world, call.tool, arguments))
    seconds = time.monotonic() - started
    before = content(out)
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            signal.signal(
                signal.SIGHUP, signal.SIG_DFL
            )  # ignored under nohup, as is SIGINT in the background of a shell
            signal.signal(signal.SIGINT, signal.default_int_handler)
            done = run(world, call.tool, arguments)
            if "Traceback" in done.stderr:
                (folder / "said").write_text(done.stderr)
            os._exit(done.returncode)
        except KeyboardInterrupt:  # before the tool began
            os._exit(128 + signal.SIGINT)
        except BaseException:
            (folder / "said").write_text(traceback.format_exc())
            os._exit(1)
    time.sleep(moment * seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)
    _, status = os.waitpid(child, 0)
    ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    found: list[tuple[str, str]] = []
    if ended not in (0, 128 + number, int(number)):  # the signal itself: it came before the tool began
        found.append(("signal", f"{call.tool}: {number.name} at {moment:.2f} ended it with {ended}"))
    if (folder / "said").exists():
        found.append(("traceback", (folder / "said").read_text()))
    if alive := _of_session(child):
        found.append(("leftover", f"{call.tool}: {number.name} at {moment:.2f} left processes {alive}"))
    if number == signal.SIGKILL:
        run_forked(lambda: run(world, call.tool, arguments))
    found += leftovers(out)
    if content(out) != before:
        found.append(("lost", f"{call.tool}: {number.name} at {moment:.2f}: other files than before"))
    return found


def _of_session(session: int) -> list[int]:
    """Processes of a session that still run a second later."""
    deadline = time.monotonic() + 5.0
    alive: list[int] = []
    while time.monotonic() < deadline:
        alive = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError):
                fields = path.read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    alive.append(int(path.parent.name))
        if not alive:
            break
        time.sleep(0.1)
    return alive


# ------------------------------------------------------------------------------------------------- hostile strings

HOSTILE = (
    "$(touch PWNED)", "`touch PWNED`", "'; touch PWNED; '", '"; touch PWNED; "', "; touch PWNED", "| touch PWNED",
    "& touch PWNED &", "\ntouch PWNED\n", "-rf", "--version", "a,b", "a b", "O'Brien", "NA 18505", "A&B", "${PWNED}",
    "%s%n", "../../PWNED", "<script>alert(1)</script>", "é☃", "\\", "~", "*", "a\tb", "=cmd|'/c calc'!A0", "{0.__class__}",
)  # fmt: skip


def executed(*folders: Path) -> list[tuple[str, str]]:
    """Files that only a string that ran as a program can have made."""
    made = [str(path) for folder in folders for path in folder.rglob("PWNED*")]
    return [("executed", ", ".join(made))] if made else []


def hostile_names(world: Path, call: Call, text: str, folder: Path) -> list[tuple[str, str]]:
    """Run a call whose every input and output has a hostile name; it works, or says in one line why not."""
    inside = text.replace("/", "_").replace("\n", " ")
    here = folder / f"in {inside}"
    here.mkdir()
    changed = {}
    for option, path in call.inputs.items():
        named = here / f"{inside}{Path(path).name}"
        named.symlink_to((world / path).resolve())
        for suffix in (".bai", ".tbi", ".fai"):
            if Path(f"{world / path}{suffix}").is_file():
                Path(f"{named}{suffix}").symlink_to((world / f"{path}{suffix}").resolve())
        changed[option] = str(named)
    out = folder / f"out {inside}"
    changed |= {option: str(out / f"{inside}{Path(path).name}") for option, path in call.outputs.items()}
    done = run(folder, call.tool, call.arguments(changed))
    return faults_of(done, lines=60) + executed(folder, world) + (leftovers_of(out))


# Options that are text: names, titles and columns, where {} is the hostile string.
TEXTS = (
    ("procap_coverage", "library", "{}"), ("procap_coverage", "umi", "{}"), ("count_alleles", "library", "{}"),
    ("count_alleles", "donor", "{}"), ("match_donors", "library", "{}"), ("match_donors", "donor", "{}"),
    ("prepare_mpra", "name", "{}"), ("extract_haplotypes", "donors", "{}"), ("finetune_model", "test-donors", "{}"),
    ("evaluate_procap", "dataset", "{}"), ("evaluate_procap", "model", "{}=finetuned"), ("score_variants", "name", "{}"),
    ("score_variants", "model", "{}=finetuned"), ("score_variants", "release", "{}"), ("score_variants", "null", "{}"),
    ("benchmark_variants", "dataset", "{}"), ("benchmark_variants", "release", "{}"),
    ("benchmark_variants", "comparator", "{}=scores.tsv"), ("benchmark_variants", "column", "measured={}"),
    ("saturate_sequences", "name", "{}"), ("saturate_sequences", "window", "{}"), ("explain_variants", "name", "{}"),
    ("build_report", "title", "{}"), ("build_report", "note", "{}"), ("check_inputs", "score", "{}"),
)  # fmt: skip


def hostile_text(world: Path, tool: str, option: str, text: str, folder: Path) -> list[tuple[str, str]]:
    """Run a call one of whose texts is hostile; it works, or says why not, and writes into its own folder alone."""
    call, out = next(call for call in CALLS if call.tool == tool), folder / "out"
    out.mkdir()
    around = set(world.iterdir()) | set(world.parent.iterdir())
    done = run(world, tool, [*call.arguments(outputs_of(call, out)), f"--{option}={text}"])
    found = faults_of(done, lines=60) if done.returncode != 2 else []  # 2: wrong usage, which typer says
    if made := (set(world.iterdir()) | set(world.parent.iterdir())) - around:
        found.append(("leftover", f"{tool} --{option} wrote {sorted(map(str, made))}"))
    return found + executed(folder, world) + leftovers_of(out)


def leftovers_of(folder: Path) -> list[tuple[str, str]]:
    """As :func:`leftovers`, of temporary names alone: a hostile name may begin with a dot."""
    names = [path.name for path in folder.rglob("*") if path.name.startswith((".partial-", ".replaced-"))]
    return [("leftover", ", ".join(sorted(names)))] if names else []


# ---------------------------------------------------------------------------------------------------- same outputs


def twice(world: Path, call: Call, folder: Path) -> list[tuple[str, str]]:
    """Run a call twice, in two processes and more than a second apart: the outputs are the same, byte for byte."""
    found: list[tuple[str, str]] = []
    contents = []
    for name in ("first", "second"):
        (folder / name).mkdir()
        arguments = call.arguments(outputs_of(call, folder / name))
        done = run_forked(lambda arguments=arguments: run(world, call.tool, arguments))  # type: ignore[misc]
        found += [("not one line", f"{call.tool}: {done.stderr}")] if done.returncode else []
        contents.append(content(folder / name))
        time.sleep(1.1 if name == "first" else 0)  # what holds the time in seconds differs
    if contents[0] != contents[1]:
        names = sorted({name for name, _ in set(contents[0].items()) ^ set(contents[1].items())})
        found.append(("lost", f"{call.tool}: two runs differ in {', '.join(names)}"))
    return found


# ------------------------------------------------------------------------------------------------------- raw bytes


def blocks_of(path: Path) -> bytes:
    """The content of a BGZF file."""
    from allelegro.io import bgzf

    with path.open("rb") as file:
        return b"".join(bgzf.inflate(file, path))


def write_blocks(data: bytes, path: Path) -> None:
    """A BGZF file of any content, its checksums right."""
    from allelegro.io import bgzf

    bgzf.append(path, data, last=True)


def bam_records(data: bytes, most: int) -> bytes:
    """The header and the first ``most`` records of a BAM's content."""
    at = 8 + int.from_bytes(data[4:8], "little")
    (contigs,) = struct.unpack_from("<i", data, at)
    at += 4
    for _ in range(contigs):
        at += 8 + int.from_bytes(data[at : at + 4], "little")
    for _ in range(most):
        if at >= len(data):
            break
        at += 4 + int.from_bytes(data[at : at + 4], "little")
    return data[:at]


@contextlib.contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """A folder for attacks, removed afterwards."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix=f"verify-{name}-", dir="/tmp") as folder:
        yield Path(folder)
