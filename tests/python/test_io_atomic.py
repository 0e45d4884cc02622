"""Outputs appear whole or not at all, and never in place of something that is no output of their kind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from allelegro.errors import DataError
from allelegro.io import atomic
from allelegro.io.atomic import atomic_folder, atomic_path, reading, together, written


def put(target: Path, text: str) -> None:
    with atomic_path(target) as partial:
        partial.write_text(text)


def make(target: Path, kind: str = "model", *names: str) -> None:
    with atomic_folder(target, kind) as partial:
        for name in names or ("weights",):
            (partial / name).parent.mkdir(exist_ok=True)
            (partial / name).write_text(kind)


def everything(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_file_takes_its_place_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "out.txt"
    put(target, "one")
    with pytest.raises(ValueError, match="interrupted"), atomic_path(target) as partial:
        partial.write_text("half")
        raise ValueError("interrupted")
    assert target.read_text() == "one" and list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    """As the superuser a rename would put a file in the place of /dev/null."""
    target = tmp_path / "target"
    target.mkdir() if kind == "folder" else os.mkfifo(target)
    before = target.stat().st_mode
    with pytest.raises(DataError, match="is not a regular file"), atomic_path(target) as partial:
        partial.write_text("x")
    if kind == "pipe":
        with pytest.raises(DataError, match="is not replaced"), atomic_folder(target, "marker"):
            pass
    assert target.stat().st_mode == before and list(tmp_path.iterdir()) == [target]


def test_a_set_of_files_appears_together(tmp_path: Path) -> None:
    first, second = tmp_path / "a.tsv", tmp_path / "b.tsv"
    put(first, "old")
    with pytest.raises(ValueError, match="late"), together():
        put(first, "new")
        assert first.read_text() == "old" and written(first).read_text() == "new"
        with together():
            put(second, "new")
        raise ValueError("late")
    assert first.read_text() == "old" and everything(tmp_path) == ["a.tsv"]
    with together():
        put(first, "new")
        put(second, "new")
    assert everything(tmp_path) == ["a.tsv", "b.tsv"] and first.read_text() == second.read_text() == "new"


def test_two_outputs_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two outputs have this name"), together():
        put(tmp_path / "a", "1")
        put(tmp_path / "." / "a", "2")
    assert not everything(tmp_path)


def test_a_folder_of_the_same_kind_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "model"
    make(target, "model", "weights", "old/history")
    make(target, "model", "weights")
    assert everything(tmp_path) == ["model", "model/.allelegro-model", "model/weights"]


@pytest.mark.parametrize("kept", ["notes.txt", "old/notes.txt", "link", "empty"])
def test_a_folder_with_a_file_of_the_user_is_not_replaced(tmp_path: Path, kept: str) -> None:
    """Notes beside the weights, a link or a folder of them are no output."""
    target = tmp_path / "model"
    make(target)
    (target / kept).parent.mkdir(exist_ok=True)
    if kept == "link":
        (target / kept).symlink_to(tmp_path)
    else:
        (target / kept).write_text("months of work")
    with pytest.raises(DataError, match=f"holds other files \\({kept}"):
        make(target)
    assert (target / kept).exists() and (target / "weights").read_text() == "model"


def test_a_folder_of_another_kind_is_not_replaced(tmp_path: Path) -> None:
    make(tmp_path / "store", "counts", "metadata.json")
    with pytest.raises(DataError, match="no folder of kind haplotypes"):
        make(tmp_path / "store", "haplotypes", "metadata.json")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "metadata.json").write_text("{}")
    with pytest.raises(DataError, match="holds other files"):
        make(tmp_path / "mine", "haplotypes")
    assert (tmp_path / "mine" / "metadata.json").read_text() == "{}"


def test_a_swap_that_fails_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "model", "model", "old")

    def fails(partial: Path, target: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(atomic, "_rename", fails)
    with pytest.raises(OSError, match="Input/output"):
        make(tmp_path / "model", "model", "new")
    assert everything(tmp_path) == ["model", "model/.allelegro-model", "model/old"]


def test_an_input_is_never_an_output(tmp_path: Path) -> None:
    table, model = tmp_path / "scores.tsv", tmp_path / "model"
    table.write_text("months of work")
    make(model)
    (tmp_path / "link.tsv").symlink_to(table)
    with reading([table, model]):
        for target in (table, tmp_path / "link.tsv", model / "weights"):
            with pytest.raises(DataError, match="is an input of this command"):
                put(target, "x")
        with pytest.raises(DataError, match="is an input of this command"):
            make(model)
        with pytest.raises(DataError, match="is an input of this command"):
            make(tmp_path)
        put(tmp_path / "other.tsv", "x")
    assert table.read_text() == "months of work"


def test_what_killed_processes_left_is_removed_and_put_back(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    mine = f"{atomic._machine()}-{dead.pid}-0"
    (tmp_path / f".partial-{mine}-other.tsv").touch()
    (tmp_path / f".partial-{mine}-model").mkdir()
    (tmp_path / f".replaced-{mine}-model").mkdir()
    (tmp_path / f".replaced-{mine}-model" / "weights").write_text("only copy")
    (tmp_path / f".replaced-{mine}-unrelated").mkdir()
    other = tmp_path / f".partial-{atomic._machine()}-{os.getpid()}-99-mine.tsv"
    other.touch()
    with pytest.raises(DataError, match="holds other files"):
        make(tmp_path / "model")
    assert (tmp_path / "model" / "weights").read_text() == "only copy"
    put(tmp_path / "new.tsv", "x")
    assert everything(tmp_path) == sorted(
        [other.name, f".replaced-{mine}-unrelated", "model", "model/weights", "new.tsv"]
    )


def test_outputs_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        put(tmp_path / "a.tsv", "x")
        make(tmp_path / "model")
    finally:
        os.umask(before)
    assert (tmp_path / "a.tsv").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "model" / ".allelegro-model").stat().st_mode & 0o777 == 0o640


def test_a_full_disk_names_the_target(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught, atomic_path(tmp_path / "a") as partial:
        partial.write_text("half")
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a")
    assert not everything(tmp_path)


def test_a_long_name_has_a_temporary_one(tmp_path: Path) -> None:
    name = "a" * 250 + ".tsv"
    put(tmp_path / name, "x")
    assert everything(tmp_path) == [name]


WRITER = """
import signal, sys, time
from pathlib import Path
from allelegro.io.atomic import atomic_folder, atomic_path, together
from allelegro.resources import ending_on_signals
here = Path(sys.argv[1])
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup or in the background of a shell
signal.signal(signal.SIGINT, signal.default_int_handler)
with ending_on_signals(), together():
    with atomic_path(here / "a.tsv") as partial:
        partial.write_text("new")
    with atomic_folder(here / "model", "model") as partial:
        (partial / "weights").write_text("new")
        print("ready", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_signal_leaves_what_was_there(tmp_path: Path, number: signal.Signals) -> None:
    put(tmp_path / "a.tsv", "old")
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(Path(atomic.__file__).parents[2])},
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    process.wait()
    process.stdout.close()
    put(tmp_path / "b.tsv", "new")  # removes what kill -9 left
    assert everything(tmp_path) == ["a.tsv", "b.tsv"] and (tmp_path / "a.tsv").read_text() == "old"
