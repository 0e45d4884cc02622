"""What a task's tools record of themselves, and the line that a task's record makes of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from allelegro.provenance import program_version, recorded, task_record, versions_in_use

ROOT = Path(__file__).parents[2]


def test_tools_of_one_task_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {
            "start": 100.0,
            "end": 110.0,
            "cpu_seconds": 9,
            "memory_mib": 500,
            "gpu_memory_mib": 0,
            "versions": {"a": "1"},
        },
        {
            "start": 104.0,
            "end": 112.5,
            "cpu_seconds": 8.5,
            "memory_mib": 700,
            "gpu_memory_mib": 30,
            "versions": {"b": "2"},
        },
    ]  # two ranks at once
    (tmp_path / "record").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setenv("ALLELEGRO_RECORD", str(tmp_path / "record"))
    assert (
        task_record().items()
        >= {
            "cost.seconds": "12.5",
            "cost.cpu_seconds": "17.5",
            "cost.memory_mib": "700",
            "cost.gpu_memory_mib": "30",
            "a": "1",
            "b": "2",
        }.items()
    )


def test_nothing_is_written_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALLELEGRO_RECORD", raising=False)
    with recorded():
        pass
    assert not list(tmp_path.iterdir())
    assert not any(name.startswith("cost.") for name in task_record())


def test_a_tool_measures_itself_and_the_record_says_so(tmp_path: Path) -> None:
    """A real tool that fails leaves its line too, and the record puts it beside the versions."""
    environment = {"ALLELEGRO_RECORD": ".record", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        # By a shell, which is small: a process counts the largest memory of the one it was forked from as its own.
        shell = ["/bin/sh", "-c", '"$@"; exit $?', "sh"]
        return subprocess.run(
            [*shell, sys.executable, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    assert run(str(ROOT / "bin/build_report.py"), "--results", "none", "--out", "out").returncode == 1
    said = dict(pair.split("=") for pair in run(str(ROOT / "bin/task_record.py"), "bash").stdout.split())
    assert {"allelegro", "python", "jinja2", "bash"} <= set(said)  # the record's own process loads no jinja2
    assert "torch" not in said
    assert 0 < float(said["cost.cpu_seconds"]) <= 60
    assert float(said["cost.seconds"]) > 0.01
    assert 20 < float(said["cost.memory_mib"]) < 2000


def test_tools_of_one_process_leave_one_record_and_end_at_the_first_that_fails(tmp_path: Path) -> None:
    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, str(ROOT / "bin/run_tools.py"), *words]
        environment = {"ALLELEGRO_RECORD": "record", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    both = run("call_peaks.py", "--version", "--then", "merge_peaks.py", "--version")
    assert (both.returncode, len(both.stdout.split())) == (0, 2), both.stderr
    assert len((tmp_path / "record").read_text().splitlines()) == 1
    failed = run("build_report.py", "--results", "none", "--out", "out", "--then", "call_peaks.py", "--version")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.count("error:") == 1


def test_versions_are_those_of_loaded_packages_and_programs_asked_about() -> None:
    found = program_version("bash")
    assert versions_in_use().items() >= {"pytest": pytest.__version__, "bash": found}.items()
    assert "json" not in versions_in_use()
