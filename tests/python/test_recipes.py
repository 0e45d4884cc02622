"""The recipes of docs/recipes as they are printed: the pipeline's line by stubs, the tools' lines for real, on tiny data."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.pipeline import NEXTFLOW, ROOT, nextflow
from helpers.tools import run

RECIPES = ROOT / "docs" / "recipes"
# What each recipe's pipeline runs, besides the check of inputs and the report.
PROCESSES = {
    "procap": {"PROCAP_COVERAGE", "CALL_PEAKS", "MERGE_PEAKS", "COUNT_WINDOWS", "LIBRARY_QC"},
    "haplotypes": {"PREPARE_WINDOWS", "EXTRACT_HAPLOTYPES", "GENOTYPE_REPORT"},
    "mpra": {"PREPARE_MPRA", "PRETRAIN_LEGNET"},
    "outside_scores": {"BENCHMARK_VARIANTS"},
}


def commands(recipe: str, section: str) -> list[list[str]]:
    """The words of each command of the shell blocks of a section."""
    text = (RECIPES / f"{recipe}.md").read_text(encoding="utf-8")
    part = re.split(r"^## ", text.partition(f"## {section}\n")[2], flags=re.MULTILINE)[0]
    lines = "\n".join(re.findall(r"^```sh\n(.*?)^```", part, re.DOTALL | re.MULTILINE)).replace("\\\n", " ")
    return [shlex.split(line) for line in lines.splitlines()]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the recipes name."""
    folder = tmp_path_factory.mktemp("recipes")
    sizes = "--individuals 3 --second-libraries 0 --loci 24 --chromosomes 2 --spacing 6000 --mpra-elements 200 --reads-per-library 4000 --satmut-elements 2 --seed 3"
    done = run(folder, "simulate_cohort", ["--out", "sim", *sizes.split()])
    assert done.returncode == 0, done.stderr
    sim = folder / "sim"
    (folder / "reads").mkdir()
    names = {
        "genome.fa": "genome.fa",
        "genome.fa.fai": "genome.fa.fai",
        "variants.vcf.gz": "phased.vcf.gz",
        "variants.vcf.gz.tbi": "phased.vcf.gz.tbi",
        "lentimpra.cell1.tsv": "lentimpra.tsv",
        "libraries/SIM0001_1.bam": "reads/LCL01_a.bam",
    }
    for source, name in names.items():
        (folder / name).symlink_to(sim / source)
    (folder / "libraries.tsv").write_text("library\tdonor\tbam\nLCL01_a\tNA18505\treads/LCL01_a.bam\n")
    (folder / "mpra.tsv").write_text("name\ttable\nHepG2\tlentimpra.tsv\n")
    elements = pd.read_csv(sim / "elements.bed", sep="\t", header=None, comment="#")
    elements.iloc[:6, :3].to_csv(folder / "regions.bed", sep="\t", header=False, index=False)
    effects = pd.read_csv(sim / "truth" / "effects.tsv", sep="\t")
    columns = ["chrom", "pos", "ref", "alt"]
    effects.assign(measured=effects["effect"])[[*columns, "measured"]].to_csv(
        folder / "measured.tsv", sep="\t", index=False
    )
    noisy = effects["effect"] + np.random.default_rng(1).normal(0, 0.1, len(effects))
    effects.assign(score=noisy)[[*columns, "score"]].to_csv(folder / "enformer.tsv", sep="\t", index=False)
    (folder / "variant_sets.tsv").write_text("name\tkind\ttable\nmy_mpra\ttable\tmeasured.tsv\n")
    (folder / "comparators.tsv").write_text("set\tname\ttable\nmy_mpra\tEnformer\tenformer.tsv\n")
    return folder


@pytest.mark.skipif(NEXTFLOW is None, reason="no nextflow; make env installs it")
@pytest.mark.parametrize("recipe", PROCESSES)
def test_the_pipelines_line_runs_what_the_recipe_says(inputs: Path, tmp_path: Path, recipe: str) -> None:
    for path in inputs.iterdir():
        (tmp_path / path.name).symlink_to(path)
    ((_, *words),) = commands(recipe, "With the pipeline")
    done = nextflow(tmp_path, *(word.replace("main.nf", "PROJECT/main.nf") for word in words), "-stub-run")
    assert done.status == 0, done.output
    assert set(done.trace()["process"]) == PROCESSES[recipe] | {"CHECK_INPUTS", "BUILD_REPORT"}
    assert "Not in it: " in done.output
    stages = pd.read_csv(done.results / "pipeline_info" / "stages.tsv", sep="\t")
    assert (stages["runs"] == "yes").sum() == 1


@pytest.mark.parametrize("recipe", PROCESSES)
def test_the_tools_lines_run(inputs: Path, recipe: str) -> None:
    changes = {"--epochs": ["--epochs", "1", "--preset", "tiny"]}
    for program, *words in commands(recipe, "By hand"):
        if program == "printf":
            text, _, target = words
            (inputs / target).write_text(text.encode().decode("unicode_escape"))
            continue
        given: list[str] = []
        for word, before in zip(words, ["", *words], strict=False):
            given += changes.get(word, [] if before in changes else [word])
        more = ["--umi", "RX"] if program.endswith("procap_coverage.py") else []
        more += ["--n-folds", "3", "--gap", "0"] if program.endswith("merge_peaks.py") else []
        done = run(inputs, Path(program).stem, given + more)
        assert done.returncode == 0, f"{program}: {done.stderr}"


def test_what_a_recipe_does_in_python_runs(inputs: Path) -> None:
    """After the tools: the blocks of Python of the haplotype recipe, in their order."""
    if not (inputs / "haplotypes").exists():
        test_the_tools_lines_run(inputs, "haplotypes")
    text = (RECIPES / "haplotypes.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    check = "\nassert by_donor.shape == (len(store.donors), 2) and batch.shape[1:] == (2, store.width, 4)"
    command = [sys.executable, "-c", code + check]
    environment = {"PYTHONPATH": str(ROOT / "bin"), "OMP_NUM_THREADS": "1", "PATH": ""}
    done = subprocess.run(command, cwd=inputs, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
