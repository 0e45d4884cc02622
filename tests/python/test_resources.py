"""Caches that nobody else may have written to."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from allelegro import resources
from allelegro.resources import out_of_memory, private_caches, private_folder


def test_a_missing_cache_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    assert private_folder(path) == path
    assert path.stat().st_mode & 0o777 == 0o700
    assert private_folder(path) == path


def writable_by_all(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def link(path: Path) -> None:
    path.with_name("target").mkdir(mode=0o700)
    path.symlink_to("target")


@pytest.mark.parametrize("make", [writable_by_all, link, Path.touch], ids=["writable by all", "link", "file"])
def test_a_cache_that_others_may_write_to_is_not_taken(tmp_path: Path, make: object) -> None:
    path = tmp_path / "cache"
    make(path)  # type: ignore[operator]
    fresh = private_folder(path)
    assert fresh != path
    assert fresh.stat().st_mode & 0o077 == 0
    assert not list(fresh.iterdir())


def test_a_cache_of_another_user_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources.os, "geteuid", lambda: os.getuid() + 1)
    assert private_folder(tmp_path) != tmp_path


def test_caches_of_the_environment_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writable_by_all(tmp_path / "shared")
    for name in ("mine", "shared"):
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / name))
        private_caches()
        assert (os.environ["NUMBA_CACHE_DIR"] == str(tmp_path / name)) == (name == "mine")


PARENT = """
import subprocess, sys
from allelegro.resources import end_with_parent
child = subprocess.Popen(["sleep", "60"], preexec_fn=end_with_parent)
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot tie a program to its parent")
def test_a_program_ends_with_the_tool_that_runs_it() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(resources.__file__).parents[1])}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and is_running(child):
        time.sleep(0.05)
    assert not is_running(child)


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_memory_at_its_end_is_known(error: Exception) -> None:
    assert out_of_memory(error)
    assert not out_of_memory(RuntimeError("shapes do not fit"))
