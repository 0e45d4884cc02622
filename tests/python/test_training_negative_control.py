"""Real signal and real genotypes that have nothing to do with each other: nothing about people may be learnt from them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from allelegro.statistics import pearson_ci
from allelegro.training.evaluate import evaluate
from allelegro.training.finetune import finetune
from allelegro.training.metrics import deviations, main_dosage, slopes
from allelegro.training.settings import FinetuneSettings

DATA = Path(__file__).parents[3] / "shared" / "data" / "chr22_hg19"
FOLDS = 4


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    if not DATA.is_dir():
        pytest.skip("the chr22 negative control is not beside the repository")
    from allelegro.cli import call_peaks, count_windows, extract_haplotypes, merge_peaks

    folder = tmp_path_factory.mktemp("chr22")
    plus, minus = (DATA / f"k562_grocap_5prime_{strand}.bw" for strand in ("plus", "minus"))
    run(call_peaks, plus=plus, minus=minus, out=folder / "p.bed", out_elements=folder / "e.bed")
    (folder / "peaks.tsv").write_text("library\tdonor\tpeaks\telements\nk562\tk562\tp.bed\te.bed\n")
    fasta, windows = DATA / "genome.fa.gz", folder / "windows.bed"
    sheet = {"sheet": folder / "peaks.tsv", "out": windows, "out_summary": folder / "merge.json", "fasta": fasta}
    run(merge_peaks, **sheet, min_donors=1, folds="blocks", n_folds=FOLDS, gap=2000)
    run(count_windows, windows=windows, sheet=DATA / "libraries.tsv", out=folder / "counts")
    vcf = DATA / "yri60.phased.vcf.gz"
    run(extract_haplotypes, vcf=vcf, fasta=fasta, windows=windows, out=folder / "haplotypes")
    return folder


def run(tool, **options) -> None:
    """Run a tool's command line."""
    arguments = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    tool.app(arguments, standalone_mode=False)


@pytest.mark.slow
def test_nothing_between_donors_and_no_allele_effect(stores, tmp_path):
    torch.set_num_threads(1)
    options = FinetuneSettings(preset="tiny", input_width=600, epochs=15, batch_loci=8, test_donor_fraction=0.3)
    parts = []
    for fold in range(FOLDS):
        model = tmp_path / f"fold{fold}"
        chosen = replace(options, test_fold=fold, validation_fold=(fold + 1) % FOLDS)
        finetune(stores / "counts", stores / "haplotypes", model, chosen, "cpu", None)
        out = tmp_path / f"fold{fold}.parquet"
        evaluate(
            stores / "counts",
            stores / "haplotypes",
            [("legnet", model)],
            tmp_path / "m.tsv",
            out,
            n_boot=20,
            device="cpu",
        )
        table = pd.read_parquet(out)
        parts.append(table[table["cell"].astype(str).str.startswith("unseen_loci")])
    table = pd.concat(parts)
    wide = {name: table.pivot(index="window", columns="donor", values=name) for name in ("observed", "legnet")}
    windows = wide["observed"].index
    observed, predicted = (np.log1p(wide[name].to_numpy(float)) for name in ("observed", "legnet"))
    loci = len(observed)
    assert loci >= 30
    locus_and_donor = np.indices(observed.shape).reshape(2, -1)
    between = pearson_ci(deviations(predicted).ravel(), deviations(observed).ravel(), locus_and_donor)
    assert between.ci_low < 0 < between.ci_high, between
    from allelegro.training.cohort import load_cohort

    cohort = load_cohort(stores / "counts", stores / "haplotypes", 600, 500)
    order = pd.Index(cohort.windows["name"]).get_indexer(pd.Index(windows.astype(str)))
    dosage = main_dosage(cohort.index)[order]
    carried = np.ptp(dosage, axis=1) > 0
    assert carried.sum() >= 20
    effect = pearson_ci(slopes(predicted, dosage)[carried], slopes(observed, dosage)[carried])
    assert effect.ci_low < 0 < effect.ci_high, effect
    # The loci themselves do differ, and that may be learnt.
    print(f"between donors {between}, alleles {effect}, across loci {pearson_ci(predicted.mean(1), observed.mean(1))}")
