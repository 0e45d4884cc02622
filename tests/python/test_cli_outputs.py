"""What every tool does with its outputs: inputs are never replaced, two outputs never share a name, all appear or none."""

import shutil
from pathlib import Path

import pytest

from helpers.attacks import content
from helpers.tools import CALLS, Call, run

FILES = [
    (call, option, output)
    for call in CALLS
    for option, path in call.inputs.items()
    for output in call.outputs
    if "." in path and output != "out-prefix"
]


@pytest.mark.parametrize(
    ("call", "option", "output"), FILES, ids=[f"{call.tool}-{option}-{output}" for call, option, output in FILES]
)
def test_an_input_given_as_output_is_refused(world: Path, tmp_path: Path, call: Call, option: str, output: str) -> None:
    given = tmp_path / Path(call.inputs[option]).name
    shutil.copy(world / call.inputs[option], given)
    changed = {name: str(tmp_path / "out" / Path(path).name) for name, path in call.outputs.items()}
    changed |= {option: str(given), output: str(given)}
    before = given.read_bytes()
    done = run(world, call.tool, call.arguments(changed))
    assert done.returncode == 1 and str(given) in done.stderr and "Traceback" not in done.stderr
    assert given.read_bytes() == before


@pytest.mark.parametrize(
    ("tool", "option", "source", "cell"),
    [
        ("merge_peaks", "sheet", "peaks.tsv", "a.peaks.bed"),
        ("check_inputs", "mpra", "sim/mpra.tsv", "lentimpra.cell1.tsv"),
        ("check_inputs", "variant-sets", "sim/variant_sets.tsv", "truth/effects.tsv"),
    ],
)
def test_a_file_that_a_sheet_names_is_no_output(
    world: Path, tmp_path: Path, tool: str, option: str, source: str, cell: str
) -> None:
    folder = tmp_path / "sheets"
    shutil.copytree((world / source).parent, folder, ignore=shutil.ignore_patterns("results", "sim", "counts", "*.bam"))
    call, named = next(call for call in CALLS if call.tool == tool), folder / cell
    before = named.read_bytes()
    given = {option: str(folder / Path(source).name)} | {
        name: str(tmp_path / "out" / Path(path).name) for name, path in call.outputs.items()
    }
    done = run(world, tool, call.arguments(given | {"out": str(named)}))
    assert done.returncode == 1 and f"{named}: is an input of this command, too" in done.stderr
    assert named.read_bytes() == before


def test_a_store_is_not_replaced_by_another_kind_or_over_notes(world: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(world / "haplotypes", store)
    before = content(store)
    counting = next(call for call in CALLS if call.tool == "count_windows")
    done = run(world, "count_windows", counting.arguments({"out": str(store)}))
    assert done.returncode == 1 and "is not replaced" in done.stderr and content(store) == before
    extracting = next(call for call in CALLS if call.tool == "extract_haplotypes")
    assert run(world, "extract_haplotypes", extracting.arguments({"out": str(store)})).returncode == 0
    (store / "notes.txt").write_text("mine")
    done = run(world, "extract_haplotypes", extracting.arguments({"out": str(store)}))
    assert done.returncode == 1 and "notes.txt" in done.stderr and (store / "notes.txt").read_text() == "mine"


def test_a_counts_store_is_replaced_by_counts_alone(world: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(world / "counts", store)
    call = next(call for call in CALLS if call.tool == "count_windows")
    assert run(world, "count_windows", call.arguments({"out": str(store)})).returncode == 0
    (store / "notes.txt").write_text("mine")
    done = run(world, "count_windows", call.arguments({"out": str(store)}))
    assert done.returncode == 1 and "notes.txt" in done.stderr


def test_two_outputs_of_one_name_are_refused(world: Path, tmp_path: Path) -> None:
    call = next(call for call in CALLS if call.tool == "call_peaks")
    out = str(tmp_path / "a.bed")
    done = run(world, call.tool, call.arguments({"out": out, "out-elements": out}))
    assert done.returncode == 1 and "two outputs have this name" in done.stderr and not list(tmp_path.iterdir())


def test_training_states_are_kept_and_kept_again(world: Path, tmp_path: Path) -> None:
    """The folder of states is neither an input nor one output."""
    call = next(call for call in CALLS if call.tool == "pretrain_legnet")
    states = tmp_path / "states"
    states.mkdir()
    arguments = [*call.arguments({"out": str(tmp_path / "model")}), "--checkpoint-dir", str(states), "--epochs", "2"]
    done = run(world, call.tool, arguments)
    assert done.returncode == 0, done.stderr
    assert not list(states.iterdir())
