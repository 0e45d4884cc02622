"""The whole task graph by stubs: what runs, what is published, what is run again, what wrong parameters say."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from allelegro import __version__
from helpers.documents import documented_files
from helpers.pipeline import NEXTFLOW, ROOT, Run, copy_of_project, nextflow

pytestmark = pytest.mark.skipif(NEXTFLOW is None, reason="no nextflow; make env installs it")

STUB = ("run", "PROJECT/main.nf", "-stub-run", "-profile", "test")


@pytest.fixture(scope="module")
def stub_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Run]:
    """A folder with a finished stub run of a copy of the project (with spaces in its path)."""
    folder = tmp_path_factory.mktemp("stub run")
    project = copy_of_project(folder / "the project")
    run = nextflow(folder, *STUB, project=project)
    assert run.status == 0, run.output
    return folder, project, run


def test_every_process_runs_and_every_stage_publishes(stub_run: tuple[Path, Path, Run]) -> None:
    _folder, project, run = stub_run
    processes = {path.stem.upper() for path in project.glob("modules/*/*.nf")} - {"MAIN", "LAUNCHER"}
    assert set(run.trace()["process"]) == processes
    for expected in (
        "inputs/inputs.json",
        "inputs/simulated/truth.json",
        "procap/windows.bed",
        "procap/counts/counts.npy",
        "procap/peaks/A.peaks.bed",
        "procap/coverage/B.qc.json",
        "genotype/haplotypes/index.npy",
        "training/pretrained/K562/model.json",
        "training/finetuned/clipnet/model.safetensors",
        "training/evaluation/metrics.tsv",
        "effects/scores/satmut.legnet.tsv",
        "effects/scores/satmut.legnet.cost.json",
        "effects/benchmarks/asb.points.tsv.gz",
        "report/report.html",
        "pipeline_info/versions.yml",
        "pipeline_info/costs.tsv",
        "pipeline_info/dag.mmd",
        "pipeline_info/timeline.html",
        "pipeline_info/execution.html",
    ):
        assert (run.results / expected).is_file(), expected
    assert f"{run.results.name}/report/report.html" in run.output.splitlines()[-1]
    assert json.loads((run.results / "pipeline_info" / "params.json").read_text())["simulate"] == "demo"


def test_checksums_are_those_of_the_results(stub_run: tuple[Path, Path, Run]) -> None:
    results = stub_run[2].results
    lines = (results / "SHA256SUMS").read_text().splitlines()
    assert len(lines) > 50
    for line in lines[::7]:
        digest, name = line.split("  ")
        assert hashlib.sha256((results / name).read_bytes()).hexdigest() == digest


def test_every_published_file_is_documented(stub_run: tuple[Path, Path, Run]) -> None:
    results, patterns = stub_run[2].results, documented_files()
    for path in results.rglob("*"):
        name = path.relative_to(results).as_posix()
        assert path.is_dir() or name == "SHA256SUMS" or any(pattern.match(name) for pattern in patterns), name


def test_resume_runs_nothing_when_nothing_changed_and_only_what_an_edit_touches(
    stub_run: tuple[Path, Path, Run],
) -> None:
    folder, project, run = stub_run
    costs = run.results / "pipeline_info" / "costs.tsv"
    before = costs.read_text()
    assert "CHECK_INPUTS" in before
    assert nextflow(folder, *STUB, "-resume", project=project).submitted() == set()
    assert costs.read_text() == before, "a task from the cache keeps what it took"

    append(project / "bin" / "allelegro" / "report" / "build.py")
    assert nextflow(folder, *STUB, "-resume", project=project).submitted() == {"BUILD_REPORT"}

    # The training engine: every task that trains, and what comes after them; not the stages before.
    append(project / "bin" / "allelegro" / "training" / "engine.py")
    again = nextflow(folder, *STUB, "-resume", project=project).submitted()
    assert {"PRETRAIN_LEGNET", "FINETUNE_MODEL", "EVALUATE_PROCAP", "SCORE_VARIANTS", "BUILD_REPORT"} <= again
    assert not again & {
        "SIMULATE_COHORT",
        "PROCAP_COVERAGE",
        "CALL_PEAKS",
        "COUNT_WINDOWS",
        "EXTRACT_HAPLOTYPES",
        "PREPARE_MPRA",
    }


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write("\n# edited\n")


def python_imports(tool: str) -> set[str]:
    """Modules of the library that Python finds in a tool's code, by its own parser, wherever the import stands."""
    code = """
import ast, sys
from pathlib import Path
bin_folder, found, queue = Path(sys.argv[1]), set(), ["allelegro.cli." + sys.argv[2]]
def file_of(name):
    base = bin_folder.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)
while queue:
    name = queue.pop()
    parts = name.split(".")
    for n in range(1, len(parts) + 1):
        module = ".".join(parts[:n]); path = file_of(module)
        if path is None or module in found: continue
        found.add(module)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import): queue += [alias.name for alias in node.names if alias.name.startswith("allelegro")]
            elif isinstance(node, ast.ImportFrom) and node.level: sys.exit(f"{path}: relative import")
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("allelegro"):
                queue += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
print(*sorted(str(file_of(module).relative_to(bin_folder)) for module in found))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "bin"), tool], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_fingerprint_covers_exactly_what_python_imports(tmp_path: Path) -> None:
    tools = [path.stem for path in sorted((ROOT / "bin").glob("*.py")) if path.stem != "task_record"]
    shutil.copytree(ROOT / "modules", tmp_path / "modules")
    (tmp_path / "main.nf").write_text(
        "include { importedFiles } from './modules/params.nf'\n"
        f"workflow {{\n    {json.dumps(tools)}.each {{ tool ->\n"
        f"        def files = importedFiles('{ROOT}/bin', [\"allelegro.cli.${{tool}}\".toString()], [] as Set)\n"
        f"        println(([tool] + files.collect {{ path -> path - '{ROOT}/bin/' }}.sort()).join(' '))\n    }}\n}}\n"
    )
    run = nextflow(tmp_path, "run", "main.nf")
    seen = {line.split()[0]: set(line.split()[1:]) for line in run.output.splitlines() if line.split(" ")[0] in tools}
    assert set(seen) == set(tools), run.output
    for tool in tools:
        assert {path for path in seen[tool] if path.endswith(".py")} == python_imports(tool), tool
    assert "allelegro/report/style.css" in seen["build_report"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--modls", "legnet"), ["--modls is not a parameter. Did you mean --models?"]),
        (("--max-cpus", "2"), ["--max-cpus is not a parameter. Did you mean --max_cpus?"]),
        (("--fdr", "much"), ["--fdr: 'much' is not a number"]),
        (("--fdr", "0.9"), ["--fdr: 0.9 is above 0.5"]),
        (("--folds", "ten"), ["--folds: 'ten' is not a whole number"]),
        (("--device", "tpu"), ["--device: 'tpu' is not one of auto, cpu, cuda"]),
        (("--models", "legnet,enformer"), ["--models: 'enformer' is not among legnet"]),
        (("--genome", "none.fa"), ["--genome: none.fa: no such file"]),
        (
            ("--width", "x", "--sede", "1"),
            ["2 problems", "--width: 'x'", "--sede is not a parameter. Did you mean --seeds?"],
        ),
    ],
)
def test_wrong_parameters_are_named(tmp_path: Path, arguments: tuple[str, ...], expected: list[str]) -> None:
    run = nextflow(tmp_path, *STUB, *arguments)
    assert run.status == 1
    for text in expected:
        assert text in run.output
    assert not (tmp_path / "work").exists() or not any((tmp_path / "work").iterdir())


def test_missing_parameters_are_listed_together(tmp_path: Path) -> None:
    run = nextflow(tmp_path, "run", "PROJECT/main.nf")
    assert run.status == 1
    for name in ("--libraries", "--genome", "--variants"):
        assert f"{name} is missing" in run.output


def test_models_that_cannot_start_are_named(tmp_path: Path) -> None:
    for name in ("libraries.tsv", "genome.fa", "variants.vcf.gz"):
        (tmp_path / name).touch()
    given = ("--libraries", "libraries.tsv", "--genome", "genome.fa", "--variants", "variants.vcf.gz")
    run = nextflow(tmp_path, "run", "PROJECT/main.nf", *given)
    assert "--mpra or --checkpoint is missing: legnet, reference, shuffled start from a pretrained LegNet" in run.output


def test_help_and_version(tmp_path: Path) -> None:
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    text = nextflow(tmp_path, "run", "PROJECT/main.nf", "--help").output
    for group in schema["$defs"].values():
        assert group["title"] in text
        for name, entry in group["properties"].items():
            assert entry.get("hidden") or f"--{name} " in text
    one = nextflow(tmp_path, "run", "PROJECT/main.nf", "--help", "fdr").output
    assert "Share of false peaks tolerated." in one
    assert "call_peaks.py --fdr" in one
    version = nextflow(tmp_path, "run", "PROJECT/main.nf", "--version").output
    assert __version__ in version
