"""The whole task graph by stubs: what runs, what is published, what is run again, what wrong parameters say."""

import hashlib
import json
import re
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
    processes -= {"PREPARE_WINDOWS", "GATHER_SCORES"}  # of a BED, of shards
    processes -= {"EXPLAIN_VARIANTS", "RANK_VARIANTS"}  # of --score
    assert set(run.trace()["process"]) == processes
    for expected in (
        "inputs/inputs.json",
        "inputs/simulated/truth.json",
        "procap/windows.bed",
        "procap/counts/counts.npy",
        "procap/peaks/A.peaks.bed",
        "procap/coverage/B.qc.json",
        "genotype/haplotypes/index.npy",
        "training/pretrained/K562/test1-val2-without0-seed1/model.json",
        "training/finetuned/clipnet/fold0-seed1/model.safetensors",
        "training/evaluation/metrics.tsv",
        "effects/scores/satmut.legnet.tsv",
        "effects/scores/satmut.legnet.cost.json",
        "effects/benchmarks/asb.points.tsv.gz",
        "report/report.html",
        "pipeline_info/versions.yml",
        "pipeline_info/costs.tsv",
        "pipeline_info/stages.tsv",
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


def test_help_a_mistyped_parameter_and_a_preview_leave_the_records_of_the_last_run(
    stub_run: tuple[Path, Path, Run],
) -> None:
    folder, project, run = stub_run
    info = run.results / "pipeline_info"
    records = [info / name for name in ("trace.tsv", "timeline.html", "execution.html", "dag.mmd", "params.json")]
    before = {path: (path.resolve(), path.read_bytes()) for path in records}
    # With -resume, so that they are of the session that later tests resume.
    assert nextflow(folder, *STUB, "-resume", "--modls", "legnet", project=project).status == 1
    preview = ("run", "PROJECT/main.nf", "-preview", "-resume", "-profile", "test")
    assert nextflow(folder, *preview, project=project).status == 0
    assert {path: (path.resolve(), path.read_bytes()) for path in records} == before


def test_adding_folds_and_seeds_trains_only_the_new(stub_run: tuple[Path, Path, Run]) -> None:
    """Other models keep their names and come from the cache; the first run's are among those of the second."""
    folder, project, run = stub_run
    before = {path.relative_to(run.results) for path in run.results.glob("training/*/*/*/model.json")}
    more = ("--test_folds", "2,0", "--seeds", "1,2", "--pretrain_folds", "1:2,3:4")
    again = nextflow(folder, *STUB, "-resume", *more, project=project)
    trained = again.trace().query("process in ('PRETRAIN_LEGNET', 'FINETUNE_MODEL') and status != 'CACHED'")
    tags = set(trained["tag"])
    assert len(tags) == len(trained)
    assert {"legnet fold0-seed2", "legnet fold2-seed1", "K562 test1-val2-without2-seed2"} <= tags
    assert not tags & {"legnet fold0-seed1", "clipnet fold0-seed1", "K562 test1-val2-without0-seed1"}
    assert before < {path.relative_to(run.results) for path in run.results.glob("training/*/*/*/model.json")}


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


def test_names_that_are_patterns_are_refused(tmp_path: Path) -> None:
    """A task would take g1.fa for g[1].fa, without a word."""
    for name in ("g[1].fa", "g1.fa", "{a,b}.bed", "v1?.vcf", "v2.vcf", "reads[1].bam", "reads1.bam"):
        (tmp_path / name).touch()
    (tmp_path / "libraries.tsv").write_text("library\tdonor\tbam\nA\tD\treads[1].bam\n")
    given = ("--genome", "g[1].fa", "--windows", "{a,b}.bed", "--score", "v*.vcf", "--outdir", "re*")
    run = nextflow(tmp_path, *STUB, *given)
    refused = re.findall(r"(--\w+): \S*/(\S+): no name may hold", run.output)
    assert run.status == 1
    assert sorted(refused) == [
        ("--genome", "g[1].fa"), ("--outdir", "re*"), ("--score", "v1?.vcf"), ("--windows", "{a,b}.bed"),
    ]  # fmt: skip
    run = nextflow(tmp_path, *STUB, "--libraries", "libraries.tsv")
    assert run.status == 1 and "1 of the files in the sheets: no name may hold" in run.output
    assert "reads[1].bam" in run.output


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
    shown = [
        name
        for group in schema["$defs"].values()
        for name, entry in group["properties"].items()
        if not entry.get("hidden")
    ]
    assert re.findall(r"^  --(\w+) ", text, re.MULTILINE) == shown, "in the order of the schema"
    for group in schema["$defs"].values():
        assert group["title"] in text
        for name, entry in group["properties"].items():
            assert entry.get("hidden") or f"--{name} " in text
    one = nextflow(tmp_path, "run", "PROJECT/main.nf", "--help", "fdr").output
    assert "Share of false peaks tolerated." in one
    assert "call_peaks.py --fdr" in one
    assert not (tmp_path / "results").exists()
    version = nextflow(tmp_path, "run", "PROJECT/main.nf", "--version").output
    assert __version__ in version
