"""Every profile parses and previews; GPUs, queues and containers reach the right tasks and only them."""

import re
from pathlib import Path

import pytest
from pipeline_runs import NEXTFLOW, ROOT, nextflow

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


@pytest.mark.parametrize("profile", ["test", "test,gpu", "test,slurm,gpu,apptainer", "test,docker", "test,debug"])
def test_profile_previews(tmp_path: Path, profile: str) -> None:
    run = nextflow(tmp_path, "run", "PROJECT/main.nf", "-preview", "-profile", profile)
    assert run.status == 0, run.output
