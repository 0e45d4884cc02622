"""The package as `pip install .` gives it: in an environment that has the dependencies and no checkout."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

import allelegro

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "containers" / "requirements"
TOOLS = {path.stem for path in (ROOT / "bin").glob("*.py")} - {"task_record", "run_tools"}
NOT_IMPORTED = {"biopython"}  # pyfaidx reads bgzip by it
OPTIONAL = {"enformer-pytorch"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment into which the built wheel was installed."""
    folder = tmp_path_factory.mktemp("packaging")
    source, environment = folder / "source", folder / "environment"
    source.mkdir()
    shutil.copytree(ROOT / "bin", source / "bin", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "assets", source / "assets")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    offline = ["--no-index", "--no-deps"]
    subprocess.run(
        [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(folder), str(source)], check=True
    )
    (wheel,) = folder.glob("*.whl")
    assert wheel.name.startswith(f"allelegro-{allelegro.__version__}-")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    subprocess.run([*pip, "--python", str(python), "install", *offline, str(wheel)], check=True)
    (libraries,) = environment.glob("lib/python*/site-packages")
    (libraries / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin"


def run(command: list[str | Path], folder: Path) -> str:
    """Standard output of a command that must succeed, run in a folder outside the checkout."""
    done = subprocess.run(command, cwd=folder, env={"HOME": str(folder)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_tool_is_a_command(installed: Path, tmp_path: Path) -> None:
    assert {path.name for path in installed.iterdir()} >= TOOLS
    assert "--plus" in run([installed / "call_peaks", "--help"], tmp_path)
    assert run([installed / "score_variants", "--version"], tmp_path).strip() == allelegro.__version__


def test_the_library_is_imported_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = "import allelegro; print(allelegro.__file__)"
    assert run([installed / "python", "-c", code], tmp_path).startswith(str(installed.parent))


def test_the_models_in_the_box_came_along(installed: Path, tmp_path: Path) -> None:
    code = "import allelegro; print(allelegro.load('lentimpra', device='cpu').effects(['ACGT' * 50], ['ACGT' * 50])[0])"
    assert run([installed / "python", "-c", code], tmp_path).strip() == "0.0"


def test_data_files_came_along(installed: Path, tmp_path: Path) -> None:
    assert "procap" in run([installed / "fetch_data", "--list"], tmp_path)
    (tmp_path / "results" / "procap").mkdir(parents=True)
    (tmp_path / "results" / "procap" / "windows.bed").write_text(
        "#chrom\tstart\tend\tname\tscore\tstrand\tfold\nchr1\t0\t100\tw\t0\t.\t0\n"
    )
    run([installed / "build_report", "--results", "results", "--out", "report"], tmp_path)
    assert "<style>" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    kept = {
        path.name
        for path in (ROOT / "bin" / "allelegro").rglob("*.*")
        if path.suffix in (".json", ".tsv", ".j2", ".css")
    }
    assert kept <= {path.name for path in installed.parent.rglob("*")}


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def named(lines: list[str]) -> set[str]:
    """Names of requirements, without versions, comments and includes."""
    return {re.split(r"[\s=<>~\[;]", line)[0].replace("_", "-").lower() for line in lines if re.match(r"\w", line)}


def test_dependencies_are_those_that_are_imported() -> None:
    imported = set()
    for path in (ROOT / "bin" / "allelegro").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    outside = named(sorted(imported - set(sys.stdlib_module_names) - {"allelegro"}))
    assert outside == named(project()["dependencies"]) - NOT_IMPORTED | OPTIONAL


def test_dependencies_are_those_that_are_locked() -> None:
    asked = [line for name in ("core.in", "torch.in") for line in (LOCKS / name).read_text().splitlines()]
    assert named(asked) == named(project()["dependencies"])
    for name in ("torch.txt", "dev.txt"):
        assert named(project()["dependencies"]) <= named((LOCKS / name).read_text().splitlines()), name


def test_one_version_everywhere() -> None:
    assert re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M)[1] == allelegro.__version__
    assert (
        re.search(r"^    version = '(.+)'$", (ROOT / "nextflow.config").read_text(), re.M)[1] == allelegro.__version__
    )
    version, date = re.search(r"^## \[(\d.+?)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.M).groups()
    assert version == allelegro.__version__
    assert f"date-released: {date}" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize(
    ("variables", "folder", "said"),
    [
        ({"HOME": "/proc/nobody"}, ".", "error: /proc/nobody/.nextflow: cannot be written; set NXF_HOME"),
        ({"HOME": "{tmp}"}, "/proc", "error: /proc: cannot be written; Nextflow keeps its records"),
        ({"NXF_HOME": "{tmp}/it's $(touch PWNED)"}, ".", ""),
    ],
    ids=["home", "folder", "quoted"],
)
def test_nextflow_says_which_folder_it_cannot_write(
    tmp_path: Path, variables: dict[str, str], folder: str, said: str
) -> None:
    """HOME is not set in the last case, as under some schedulers."""
    spec = importlib.util.spec_from_file_location("installer", ROOT / "containers" / "install_nextflow.py")
    assert spec and spec.loader
    installer = importlib.util.module_from_spec(spec)
    sys.modules["installer"] = installer  # its dataclass looks its module up
    spec.loader.exec_module(installer)
    launcher = tmp_path / "nextflow"
    launcher.write_text(installer.NEXTFLOW_LAUNCHER.format(java="echo", opens="", classpath="x"))
    given = {name: value.format(tmp=tmp_path) for name, value in variables.items()}
    environment = {"PATH": os.environ["PATH"]} | given
    where = tmp_path if folder == "." else Path(folder)
    command = ["bash", str(launcher), "run", "main.nf"]
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)
    assert (done.stderr.startswith(said) and done.stderr.count("\n") == 1) if said else not done.stderr
    assert done.returncode == (1 if said else 0) and not (tmp_path / "PWNED").exists()
