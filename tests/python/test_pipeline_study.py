"""The study's plan for real, at a small size: several folds and seeds from sheets to one report."""

import json

import pandas as pd
import pytest

from allelegro.io.metrics import read_metrics
from helpers.pipeline import NEXTFLOW, Run, nextflow
from helpers.tools import run as run_tool

pytestmark = [pytest.mark.slow, pytest.mark.skipif(NEXTFLOW is None, reason="no nextflow; make env installs it")]

SMALL = {
    "test_folds": "0,1", "seeds": "1,2", "pretrain_folds": "1:2", "models": "legnet,reference", "shards": 2, "folds": 4,
    "model_size": "tiny", "pretrain_epochs": 1, "pretrain_batch": 64, "finetune_epochs": 1, "bootstraps": 100,
    "test_donor_fraction": 0.34, "min_donors": 1, "saturate": "", "max_cpus": 1, "max_memory": "3 GB",
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """``-profile full`` on made data: two test folds, two seeds."""
    folder = tmp_path_factory.mktemp("study")
    simulated = run_tool(folder, "simulate_cohort", ["--out", "data", "--preset", "tiny", "--no-bam", "--seed", "3"])
    assert simulated.returncode == 0, simulated.stderr
    (folder / "sets.tsv").write_text("name\tkind\ttable\nmpra\tmpra\tdata/truth/mpra.tsv\n")
    files = {"libraries": "signals.tsv", "genome": "genome.fa", "variants": "variants.vcf.gz", "mpra": "mpra.tsv"}
    given = {name: str(folder / "data" / file) for name, file in files.items()}
    (folder / "study.json").write_text(json.dumps(given | {"variant_sets": str(folder / "sets.tsv")} | SMALL))
    run = nextflow(folder, "run", "PROJECT/main.nf", "-profile", "full", "-params-file", "study.json")
    assert run.status == 0, run.output
    return run


def test_every_fold_and_seed_is_a_member_of_its_model(study: Run) -> None:
    for model in ("legnet", "reference"):
        members = {path.parent.name for path in study.results.glob(f"training/finetuned/{model}/*/model.json")}
        assert members == {f"fold{fold}-seed{seed}" for fold in (0, 1) for seed in (1, 2)}


def test_held_out_figures_pool_the_folds(study: Run) -> None:
    """Each locus of a test fold is predicted as unseen once; the held-out metrics count the loci of both folds."""
    windows = pd.read_csv(study.results / "procap" / "windows.bed", sep="\t")
    held_out = windows.loc[windows["fold"].isin([0, 1]), "name"]
    predictions = pd.read_parquet(study.results / "training" / "evaluation" / "predictions.parquet")
    unseen = predictions[predictions["cell"].str.startswith("unseen_loci/")]
    assert set(unseen["window"]) == set(held_out)
    assert not unseen.duplicated(["window", "donor"]).any()
    metrics = read_metrics([study.results / "training" / "evaluation" / "metrics.tsv"])
    across = metrics.query("metric == 'across_loci_r' and subset == 'unseen_loci/unseen_donors'")
    assert {"legnet", "reference"} <= set(across["model"])
    assert set(across["n"].astype(int)) == {len(held_out)}


def test_the_report_is_of_both_folds(study: Run) -> None:
    report = (study.results / "report" / "report.html").read_text()
    assert "legnet" in report
    assert (study.results / "effects" / "benchmarks" / "mpra.metrics.tsv").is_file()
