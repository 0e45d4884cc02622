#!/usr/bin/env python3
"""Published-size LegNet on the joint lentiMPRA library: one network for three cell lines, tested by fold.

    python benchmarks/joint_lentimpra.py --data DATA --work WORK --threads 2
    python benchmarks/joint_lentimpra.py --data DATA --work WORK --box assets/models/lentimpra

DATA holds ``lentimpra_joint`` and ``lentimpra_wtc11``. Groups (the same sequence, its reverse complement, alleles, tiles) are
in one of ten folds. Each ``--network TEST:VALIDATION:SEED`` is trained on the other folds; networks with one test fold are an
ensemble. Checkpoints already in WORK are read, not trained again; a stopped one continues. ``--cell`` trains one cell line
alone. Prints Pearson's r on the test fold: of each network, of the ensemble with its interval, of each output with each cell
line's activity, and of WTC11 elements of another library that are like nothing the networks saw. ``--box`` stores the
ensemble in half precision and refuses if predictions or effects of single bases change by more than r = 0.999 allows.
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bin"))

import numpy as np
import pandas as pd
import torch

from allelegro.io.dna import decode, reverse_complement
from allelegro.io.metrics import metric_row, write_metrics
from allelegro.io.tables import NAME, NUMBER, read_table, write_table
from allelegro.models.checkpoint import load_model, load_stored, save_model
from allelegro.models.outputs import Outputs
from allelegro.models.seen import Seen
from allelegro.statistics import pearson, pearson_ci
from allelegro.training.mpra import genomic, prepare_mpra, read_training_table, sequences_to_codes
from allelegro.training.pretrain import predict_both_strands, pretrain
from allelegro.training.settings import MpraSettings, PretrainSettings

CELLS = ("HepG2", "K562", "WTC11")
NETWORKS = ("1:2:1", "1:3:2", "1:4:3")
SAME = 0.999  # least r between effects in full and in half precision


def main() -> None:
    """Train what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints and interrupted runs")
    parser.add_argument("--network", action="append", help="TEST:VALIDATION:SEED; repeatable")
    parser.add_argument(
        "--cell", choices=CELLS, action="append", help="cell line; repeatable; default: all three together"
    )
    parser.add_argument("--preset", default="published")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--box", type=Path, help="store the ensemble here, in half precision")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    cells = tuple(options.cell or CELLS)
    table_path = options.work / f"{'-'.join(cells)}.tsv"
    if not table_path.is_file():
        library = options.data / "lentimpra_joint" / "joint56975.tsv.gz"
        write_table(prepare_mpra(library, MpraSettings(cells)), table_path)
    networks = [tuple(map(int, text.split(":"))) for text in options.network or NETWORKS]
    folders = [train(options, table_path, *network) for network in networks]
    table = read_training_table(table_path).rename(columns={"mean_value": cells[0]})
    rows = []
    for test in dict.fromkeys(network[0] for network in networks):
        chosen = [folder for folder, network in zip(folders, networks, strict=True) if network[0] == test]
        rows += evaluate(chosen, table[table["fold_num"] == test], cells, f"fold{test}")
        rows += elsewhere(chosen, table, test, options.data / "lentimpra_wtc11", cells)
    write_metrics(rows, options.work / f"{'-'.join(cells)}.metrics.tsv")
    if options.box:
        store(folders, options.box, table, [test for test, _, _ in networks])


def recipe(preset: str, epochs: int, test: int, validation: int, seed: int) -> PretrainSettings:
    """What a library of 57,000 elements asks for: small batches, a running mean of the weights, shifts to both sides."""
    return PretrainSettings(
        test_fold=test, validation_fold=validation, preset=preset, epochs=epochs, batch_size=256, max_lr=0.006,
        average=0.98, shift_before=21, shift_after=21, seed=seed,
    )  # fmt: skip


def train(options: argparse.Namespace, table: Path, test: int, validation: int, seed: int) -> Path:
    """The checkpoint of one network, trained unless it is there."""
    folder = options.work / table.stem / f"test{test}-val{validation}-seed{seed}"
    if not folder.is_dir():
        settings = recipe(options.preset, options.epochs, test, validation, seed)
        pretrain(table, folder, settings, "auto", options.work / "state" / f"{table.stem}-{folder.name}")
    return folder


@torch.inference_mode()
def predictions(folder: Path, sequences: pd.Series) -> np.ndarray:
    """log2 activity ``[n, outputs]`` of constructs, the mean of both strands."""
    module, config = load_stored(folder)
    with torch.autocast("cpu", torch.bfloat16):
        predicted = predict_both_strands(module.eval(), torch.from_numpy(sequences_to_codes(sequences)))
    outputs = Outputs.of(config)
    return predicted[:, None] if outputs is None else predicted * outputs.sd + outputs.mean


def evaluate(folders: list[Path], test: pd.DataFrame, cells: tuple[str, ...], name: str) -> list[dict[str, object]]:
    """r of every network, of their mean, and of each output with each cell line, on elements that none of them saw."""
    each = [predictions(folder, test["seq"]) for folder in folders]
    together, rows = np.mean(each, axis=0), []
    print(f"\n{name}, n {len(test)}\n| cell line | " + " | ".join(folder.name for folder in folders) + " | ensemble |")
    for place, cell in enumerate(cells):
        measured = test[cell].to_numpy()
        estimate = pearson_ci(together[:, place], measured, test["group"].to_numpy())
        single = " | ".join(f"{pearson(one[:, place], measured):.3f}" for one in each)
        print(f"| {cell} | {single} | {estimate.value:.3f} [{estimate.ci_low:.3f}, {estimate.ci_high:.3f}] |")
        rows.append(metric_row("training", f"joint_{name}", "lentimpra", cell, "pearson", estimate))
    print(f"\n| output | {' | '.join(f'measured in {cell}' for cell in cells)} |")
    for place, cell in enumerate(cells):
        print(
            f"| {cell} | "
            + " | ".join(f"{pearson(together[:, place], test[other].to_numpy()):.3f}" for other in cells)
            + " |"
        )
    print(
        "| measured | "
        + " | ".join(f"{pearson(test[cells[0]].to_numpy(), test[other].to_numpy()):.3f}" for other in cells)
        + " |"
    )
    return rows


def elsewhere(
    folders: list[Path], table: pd.DataFrame, test: int, library: Path, cells: tuple[str, ...]
) -> list[dict[str, object]]:
    """r on the WTC11 library of another experiment, without the elements (on either strand) that training or validation had."""
    if "WTC11" not in cells or not library.is_dir():
        return []
    other = pd.concat(
        [read_table(library / f"fold{fold}.tsv.gz", {"seq": NAME, "mean_value": NUMBER}) for fold in (1, 2)]
    )
    shown = table["seq"][table["fold_num"] != test]
    turned = [decode(row) for row in reverse_complement(sequences_to_codes(shown.str.slice(15, -15)))]
    seen = set(shown.str.slice(15, -15)) | set(turned)
    unseen = other[~other["seq"].str.slice(15, -15).isin(seen)]
    predicted = np.mean([predictions(folder, unseen["seq"])[:, cells.index("WTC11")] for folder in folders], axis=0)
    estimate = pearson_ci(predicted, unseen["mean_value"].to_numpy())
    print(
        f"\nWTC11 library of its own, {len(other) - len(unseen)} elements seen in training excluded, n {estimate.n}: r {estimate.value:.3f} [{estimate.ci_low:.3f}, {estimate.ci_high:.3f}]"
    )
    return [metric_row("training", "wtc11_library", "lentimpra", "WTC11", "pearson", estimate)]


def store(folders: list[Path], box: Path, table: pd.DataFrame, tests: list[int]) -> None:
    """The networks in half precision, when effects of random single bases stay as they are, and what they saw."""
    rng = np.random.default_rng(0)
    reference = sequences_to_codes(table["seq"].sample(500, random_state=0))
    alternative = reference.copy()
    place = rng.integers(15, 215, len(reference))
    alternative[np.arange(len(reference)), place] = (
        alternative[np.arange(len(reference)), place] + rng.integers(1, 4, len(reference))
    ) % 4
    for folder, test in zip(folders, tests, strict=True):
        module, config = load_stored(folder)
        seen = Seen.training(genomic(table[table["fold_num"] != test]), None)
        history = pd.read_csv(folder / "history.tsv", sep="\t")
        save_model(box / folder.name, module, config, history, half=True, seen=seen)
        models = [load_model(path) for path in (folder, box / folder.name)]
        effects = [model.predict_log2(alternative) - model.predict_log2(reference) for model in models]
        r = pearson(*effects)
        print(f"{folder.name}: effects in half precision r {r:.5f}")
        if r < SAME:
            raise SystemExit(f"{folder.name}: half precision changes effects (r {r:.5f})")


if __name__ == "__main__":
    main()
