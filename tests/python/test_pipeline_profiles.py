"""Every profile parses and previews; GPUs, queues and containers reach the right tasks and only them."""

import os
import re
from pathlib import Path

import pytest

from helpers.pipeline import NEXTFLOW, ROOT, nextflow

pytestmark = pytest.mark.skipif(NEXTFLOW is None, reason="no nextflow; make env installs it")

PROFILES = sorted(re.findall(r"^    (\w+) \{ includeConfig", (ROOT / "nextflow.config").read_text(), re.MULTILINE))


def test_the_profiles_of_the_documentation_exist() -> None:
    wanted = "docker apptainer singularity podman slurm gpu awsbatch google_batch azure_batch k8s test full debug"
    assert sorted(wanted.split()) == PROFILES


@pytest.mark.parametrize("profile", PROFILES)
def test_profile_configures(tmp_path: Path, profile: str) -> None:
    run = nextflow(tmp_path, "config", "PROJECT", "-profile", f"test,{profile}", "-flat")
    assert run.status == 0, run.output
    assert "process.maxRetries = 2" in run.output
    assert not re.search(r"_TAG|latest", run.output)


def test_no_profile_holds_a_selector() -> None:
    for name in PROFILES:
        text = (ROOT / "conf" / f"{name}.config").read_text()
        assert not re.search(r"with(Label|Name)", text), name


# Plugins of the clouds are downloaded when a run starts: without them, all but the executor itself is tried.
CLOUDS = ["awsbatch", "google_batch", "azure_batch"]
KUBERNETES = """
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test}}]
clusters: [{name: test, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: test, user: {token: none}}]
"""


@pytest.mark.parametrize("profile", [name for name in PROFILES if name != "test"])
def test_profile_previews(tmp_path: Path, profile: str) -> None:
    (tmp_path / "kubernetes").write_text(KUBERNETES)
    executor = ["-process.executor", "local"] if profile in CLOUDS else []
    run = nextflow(
        *(tmp_path, "run", "PROJECT/main.nf", "-preview", "-profile", f"test,{profile}", *executor),
        environment={"KUBECONFIG": str(tmp_path / "kubernetes"), "NXF_PLUGINS_DEFAULT": "false"},
    )
    assert run.status == 0, run.output


def test_array_jobs_refuse_a_work_directory_that_nextflow_would_not_quote(tmp_path: Path) -> None:
    run = nextflow(
        tmp_path, "run", "PROJECT/main.nf", "-preview", "-profile", "test,slurm", "--job_array", "4", "-w", "a b"
    )
    assert run.status != 0
    assert "--job_array needs a work directory without spaces" in run.output


# Stands for a container engine: runs the command that follows the image here.
ENGINE = """#!/bin/bash
while [ $# -gt 0 ] && [ "$1" != /bin/bash ]; do shift; done
"$@"
"""
GPU_OPTION = {
    "docker": "--gpus all",
    "podman": "--device nvidia.com/gpu=all",
    "apptainer": "--nv",
    "singularity": "--nv",
}
RIGHTS = {
    "docker": [
        "--user $(id -u):$(id -g)",
        "--network none",
        "--cap-drop ALL",
        "no-new-privileges",
        '-e "CUDA_VISIBLE_DEVICES"',
    ],
    "podman": ["--userns keep-id", "--network none", "--cap-drop ALL", '-e "CUDA_VISIBLE_DEVICES"'],
    "apptainer": ["--no-home", 'APPTAINERENV_CUDA_VISIBLE_DEVICES="$CUDA_VISIBLE_DEVICES"'],
    "singularity": ["--no-home", 'SINGULARITYENV_CUDA_VISIBLE_DEVICES="$CUDA_VISIBLE_DEVICES"'],
}


@pytest.mark.parametrize("engine", ["docker", "podman", "apptainer", "singularity"])
def test_images_rights_and_gpus_of_every_task(tmp_path: Path, engine: str) -> None:
    (tmp_path / engine).write_text(ENGINE)
    (tmp_path / engine).chmod(0o755)
    (tmp_path / "legnet").mkdir()
    for name in ("mine.vcf", "genome.fa"):
        (tmp_path / name).touch()
    run = nextflow(
        *(
            tmp_path,
            "run",
            "PROJECT/main.nf",
            "-stub-run",
            "-profile",
            f"gpu,{engine}",
            "--registry",
            f"{tmp_path}/images/",
        ),
        *(
            "--trained",
            "legnet",
            "--score",
            "mine.vcf",
            "--genome",
            "genome.fa",
            "--max_cpus",
            "1",
            "--max_memory",
            "2 GB",
        ),
        environment={"PATH": f"{tmp_path}:{Path(NEXTFLOW or '').parent}:{os.environ['PATH']}"},
    )
    assert run.status == 0, run.output
    on_gpu = {
        name
        for text in (path.read_text() for path in ROOT.glob("modules/*/*.nf"))
        if "label 'process_gpu'" in text
        for name in re.findall(r"^process (\w+)", text, re.MULTILINE)
    }
    seen = set()
    for task in run.trace().itertuples():
        command = next(tmp_path.glob(f"work/{task.hash}*/.command.run")).read_text()
        launch = next(line for line in command.splitlines() if re.match(rf".*\b{engine} (run|exec) ", line))
        wanted = task.process in on_gpu
        seen.add(wanted)
        assert (GPU_OPTION[engine] in launch) == wanted, launch
        assert ("take_gpus.sh' 1" in command) == wanted
        assert all(right in command for right in RIGHTS[engine]), launch
        assert f"images/allelegro-{'torch' if wanted else 'core'}:" in launch.replace("\\:", ":")
    assert seen == {True, False}


# Stands for Slurm: a job is run where it is submitted, and none is ever waiting.
SBATCH = """#!/bin/bash
module() { :; }
export -f module
bash "${@: -1}" > /dev/null 2>&1
echo Submitted batch job 1
"""


def test_slurm_jobs_carry_the_options_and_the_documented_site_file(tmp_path: Path) -> None:
    for name, text in {"sbatch": SBATCH, "squeue": "#!/bin/bash\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "legnet").mkdir()
    for name in ("mine.vcf", "genome.fa"):
        (tmp_path / name).touch()
    recipe = (ROOT / "docs" / "recipes" / "cluster.md").read_text()
    (site,) = re.findall(r"```groovy\n(.*?)```", recipe, re.DOTALL)
    (tmp_path / "my.config").write_text(site)
    (tmp_path / "quick.config").write_text("executor.pollInterval = '100 ms'\n")
    run = nextflow(
        *(tmp_path, "-c", "my.config", "-c", "quick.config", "run", "PROJECT/main.nf", "-stub-run"),
        *("-profile", "slurm,gpu", "--constraint", "avx2", "--gpu_constraint", "a100|h100", "--qos", "normal"),
        *("--trained", "legnet", "--score", "mine.vcf", "--genome", "genome.fa", "--max_time", "12 h"),
        environment={"PATH": f"{tmp_path}:{Path(NEXTFLOW or '').parent}:{os.environ['PATH']}"},
    )
    assert run.status == 0, run.output
    seen = set()
    for task in run.trace().itertuples():
        command = next(tmp_path.glob(f"work/{task.hash}*/.command.run")).read_text()
        options = " ".join(re.findall(r"^#SBATCH (.*)", command, re.MULTILINE))
        on_gpu = "--gres=gpu:a100:1" in options
        seen.add(on_gpu)
        assert "--account=lab --qos=normal" in options
        assert ("--constraint=a100|h100" if on_gpu else "--constraint=avx2") in options
        assert f"-p {'gpu' if on_gpu else 'short'} " in f"{options} "
        assert "nxf_module_load bowtie2" in command
    assert seen == {True, False}
