"""A few cases of each attack that ``make verify`` tries at length (docs/reliability.md)."""

import signal
from pathlib import Path

import pytest

from helpers import attacks, fuzz
from helpers.tools import CALLS, Call

KINDS = ("BAM", "bigWig", "VCF", "haplotype stores", "counts stores", "checkpoints", "tables")
QUICK = [
    call for call in CALLS if call.tool in ("procap_coverage", "call_peaks", "extract_haplotypes", "count_windows")
]


def none(found: list[tuple[str, str]]) -> None:
    assert not found, "\n".join(f"{fault}: {detail}" for fault, detail in found)


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    attacks.load_tools()


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_inputs_are_read_or_refused_in_one_line(world: Path, tmp_path: Path, kind: str) -> None:
    case = fuzz.kinds(world)[kind]
    for number in range(12):
        folder = tmp_path / str(number)
        folder.mkdir()
        none(case(folder, number))


@pytest.mark.parametrize("call", CALLS, ids=[f"{call.tool}-{'-'.join(call.inputs)}" for call in CALLS])
def test_names_that_are_programs_stay_names(world: Path, tmp_path: Path, call: Call) -> None:
    none(attacks.hostile_names(world, call, "-x 'q' $(touch PWNED) `touch PWNED` a&b;=", tmp_path))


@pytest.mark.parametrize(("tool", "option", "form"), attacks.TEXTS, ids=[f"{t}-{o}" for t, o, _ in attacks.TEXTS])
def test_texts_that_are_programs_stay_texts(world: Path, tmp_path: Path, tool: str, option: str, form: str) -> None:
    none(
        attacks.hostile_text(
            world, tool, option, form.replace("{}", "../-x 'q' $(touch PWNED) `touch PWNED`"), tmp_path
        )
    )


@pytest.mark.parametrize("limit", [0, 100, 3000, 20_000])
@pytest.mark.parametrize("call", QUICK, ids=[f"{call.tool}-{'-'.join(call.inputs)}" for call in QUICK])
def test_a_full_disk_leaves_what_was_there(world: Path, tmp_path: Path, call: Call, limit: int) -> None:
    none(attacks.full_disk(world, call, limit, tmp_path))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("moment", [0.1, 0.5, 0.9])
def test_a_signal_leaves_what_was_there(world: Path, tmp_path: Path, number: signal.Signals, moment: float) -> None:
    none(attacks.interrupted(world, QUICK[0], number, moment, tmp_path))


@pytest.mark.parametrize("call", QUICK, ids=[f"{call.tool}-{'-'.join(call.inputs)}" for call in QUICK])
def test_two_runs_write_the_same_bytes(world: Path, tmp_path: Path, call: Call) -> None:
    none(attacks.twice(world, call, tmp_path))
