"""Run the pipeline in tests: a short, offline call of Nextflow and what it left behind."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[3]
NEXTFLOW = shutil.which("nextflow", path=f"{ROOT / '.venv' / 'bin'}:{os.environ.get('PATH', '')}")


@dataclass
class Run:
    """A finished run: its exit status, all it printed, and its results folder."""

    status: int
    output: str
    results: Path

    def trace(self) -> pd.DataFrame:
        """Tasks of the run: ``process`` without its workflow, ``tag``, ``status``, ``attempt``, …"""
        table = pd.read_csv(self.results / "pipeline_info" / "trace.tsv", sep="\t")
        return table.assign(process=table["process"].str.split(":").str[-1])

    def submitted(self) -> set[str]:
        """Processes of which at least one task was not taken from the cache."""
        table = self.trace()
        return set(table.loc[table["status"] != "CACHED", "process"])


def nextflow(folder: Path, *arguments: str, project: Path = ROOT, environment: dict[str, str] | None = None) -> Run:
    """Run ``nextflow ARGUMENTS`` in ``folder``, the virtual environment first on PATH."""
    assert NEXTFLOW
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    variables = os.environ | {"PATH": path, "NXF_OFFLINE": "true", "NXF_ANSI_LOG": "false"} | (environment or {})
    command = [NEXTFLOW, *(argument.replace("PROJECT", str(project)) for argument in arguments)]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    return Run(done.returncode, done.stdout + done.stderr, folder / "results")


def copy_of_project(target: Path) -> Path:
    """The pipeline's files alone, so that a test may edit them."""
    target.mkdir()
    for name in ("main.nf", "nextflow.config", "nextflow_schema.json"):
        shutil.copy2(ROOT / name, target)
    for name in ("modules", "conf", "bin"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    return target
