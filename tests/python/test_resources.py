"""What a task's tools record of themselves, and the line that a task's record makes of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from allelegro.resources import recorded, task_cost

ROOT = Path(__file__).parents[2]


def test_tools_of_one_task_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["100.0 110.0 9.0 500 0", "104.0 112.5 8.5 700 30"]  # two ranks at once
    (tmp_path / "cost").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("ALLELEGRO_COST", str(tmp_path / "cost"))
    assert task_cost() == {
        "cost.seconds": "12.5",
        "cost.cpu_seconds": "17.5",
        "cost.memory_mib": "700",
        "cost.gpu_memory_mib": "30",
    }


def test_nothing_is_written_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALLELEGRO_COST", raising=False)
    with recorded():
        pass
    assert not list(tmp_path.iterdir())
    assert task_cost() == {}


def test_a_tool_measures_itself_and_the_record_says_so(tmp_path: Path) -> None:
    """A real tool that fails leaves its line too, and the record puts it beside the versions."""
    environment = {"ALLELEGRO_COST": ".cost", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    assert run(str(ROOT / "bin/build_report.py"), "--results", "none", "--out", "out").returncode == 1
    said = dict(pair.split("=") for pair in run(str(ROOT / "bin/task_record.py"), "numpy").stdout.split())
    assert {"allelegro", "python", "numpy"} <= set(said)
    assert 0 < float(said["cost.cpu_seconds"]) <= 60
    assert float(said["cost.seconds"]) > 0.01
    assert 20 < float(said["cost.memory_mib"]) < 2000
