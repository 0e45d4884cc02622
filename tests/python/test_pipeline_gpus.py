"""GPUs of one machine: no two tasks hold one at a time, and a task that is killed gives its own back."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from helpers.pipeline import ROOT

TASK = """
source "{root}/conf/take_gpus.sh" {wanted}
for gpu in ${{CUDA_VISIBLE_DEVICES//,/ }}; do mkdir "held.$gpu" || echo "GPU $gpu is held twice" >> problems; done
echo "$CUDA_VISIBLE_DEVICES" >> taken
sleep {seconds}
for gpu in ${{CUDA_VISIBLE_DEVICES//,/ }}; do rmdir "held.$gpu"; done
"""


@pytest.fixture(autouse=True)
def two_gpus(tmp_path: Path) -> None:
    """A machine with two GPUs."""
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)


def start(folder: Path, wanted: int, seconds: float = 0.3, **variables: str) -> subprocess.Popen[str]:
    """A task that holds ``wanted`` GPUs for a while."""
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment |= {"PATH": f"{folder}:{os.environ['PATH']}", "TMPDIR": str(folder)} | variables
    script = TASK.format(root=ROOT, wanted=wanted, seconds=seconds)
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_no_gpu_is_held_twice(tmp_path: Path) -> None:
    tasks = [start(tmp_path, wanted) for wanted in (1, 2, 1, 2, 1)]
    assert [task.wait(60) for task in tasks] == [0] * len(tasks)
    assert not (tmp_path / "problems").exists()
    taken = (tmp_path / "taken").read_text().split()
    assert sorted(taken, key=len)[3:] == ["0,1", "0,1"]
    assert set(taken) <= {"0", "1", "0,1"}


def test_a_killed_task_gives_its_gpus_back(tmp_path: Path) -> None:
    first = start(tmp_path, 2, seconds=600)
    while not (tmp_path / "taken").exists():
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    for gpu in "01":
        (tmp_path / f"held.{gpu}").rmdir()
    assert start(tmp_path, 2).wait(30) == 0


@pytest.mark.parametrize(("visible", "taken"), [("1", "1"), ("GPU-5c", "GPU-5c"), ("", "")])
def test_devices_that_the_user_chose_are_the_only_ones(tmp_path: Path, visible: str, taken: str) -> None:
    assert start(tmp_path, 1, CUDA_VISIBLE_DEVICES=visible).wait(30) == 0
    assert (tmp_path / "taken").read_text().strip() == taken


def test_more_gpus_than_the_machine_has_is_an_error(tmp_path: Path) -> None:
    task = start(tmp_path, 3)
    assert task.wait(30) == 1
    assert task.stderr is not None
    assert task.stderr.read() == "error: the task asks for 3 GPUs and this machine shows 2; use --gpus 2\n"


@pytest.mark.parametrize("there", [True, False], ids=["link to a file", "link to nothing"])
def test_a_lock_that_another_user_made_a_link_is_not_followed(tmp_path: Path, there: bool) -> None:
    target = tmp_path / "somebody's file"
    if there:
        target.write_text("kept")
    (tmp_path / "allelegro-gpu.0").symlink_to(target)
    task = start(tmp_path, 1)
    _, said = task.communicate(timeout=60)
    assert task.returncode == 1 and "is no lock file" in said
    assert target.exists() == there and (not there or target.read_text() == "kept")


def test_locks_can_be_read_by_all_users_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert start(tmp_path, 1).wait(30) == 0
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("allelegro-gpu.*")} == {0o644}
