#!/usr/bin/env python3
"""Real LCL PRO-cap at reference level: the box's networks fine-tuned on enhancers, and LCL variant effects before and after.

    python benchmarks/lcl_enhancers.py --data DATA --work WORK

DATA holds ``lcl_procap_enhancers`` (4,138 enhancers, reads merged over the libraries of Kristjansdottir 2020; trusted are
those whose centre is within 40 bp of the element's), ``lcl_mpra_abell``, ``lcl_dsqtl`` and ``tewhey_lcl``. The networks of
the box are compared with two that learned from the enhancers: the last layer fitted again in closed form, as fine-tuning
begins (a ridge of log counts on the 256 features of the central 230 bp, both strands), and the whole network fine-tuned by
``finetune_model.py`` (squared errors of log reads, low rates that fall from layer to layer towards the input, a running
mean of weights), a seed for each network of the box. Chromosomes are held out in five groups, another is the validation of
fine-tuning, and what is predicted is predicted by the networks that had neither. Alleles are put between the adaptors of
lentiMPRA, in random surroundings that both share, for all three. Prints r with log counts of held-out enhancers and with
measured effects, and paired differences from the box; intervals resample enhancers, or clusters of variants, and networks.
WORK keeps stores, checkpoints and predictions.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bin"))

import numpy as np
import pandas as pd
import pysam
import torch
from real_effects import SOURCES
from scoring_choices import placed

import allelegro
from allelegro.effects.benchmark import clusters_of
from allelegro.effects.measured import read_measured
from allelegro.io.contigs import plain_contig
from allelegro.io.tables import GUESS, read_table
from allelegro.io.windows import WINDOW_COLUMNS
from allelegro.models.box import find_model
from allelegro.models.checkpoint import load_module
from allelegro.models.encoding import reverse_complement
from allelegro.models.ensemble import members
from allelegro.models.legnet import LegNet
from allelegro.procap.counts import write_element_counts
from allelegro.statistics import bootstrap_members, pearson_difference_with, pearson_with, ridge
from allelegro.training.mpra import sequences_to_codes

ROOT = Path(__file__).parents[1]
FOLDS, WIDTH, TRUSTED, SHIFT = 5, 230, 40, 5
SETS = {"abell": "significant", "tewhey": "significant", "dsqtl": "all"}
READOUTS = ("lentiMPRA", "last layer refitted", "fine-tuned")


def main() -> None:
    """Fit what is missing and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--set", dest="sets", choices=SETS, action="append", help="repeatable; default: all")
    parser.add_argument("--sample", type=int, help="so many variants of a set at random; default: all")
    parser.add_argument("--surroundings", type=int, default=1, help="random sequences around alleles")
    parser.add_argument(
        "--fold",
        dest="folds",
        type=int,
        choices=range(FOLDS),
        action="append",
        help="group of chromosomes to hold out; repeatable (default: each in turn)",
    )
    parser.add_argument("--max-lr", type=float, default=3e-4, help="peak rate of fine-tuning")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    options.folds = options.folds or list(range(FOLDS))
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    table = read_table(options.data / "lcl_procap_enhancers" / "ttre_counts_with_sequence.tsv.gz", others=GUESS)
    table = table[table["offset"].abs() <= TRUSTED].reset_index(drop=True)
    reads = (table["plus"] + table["minus"]).to_numpy(np.int64)
    fold = folds_of(table["chr"])
    stores(options, table, reads, fold)
    for number, start in enumerate(members([find_model("lentimpra")]), start=1):
        for held in options.folds:
            finetune(options, start, number, held)
    refits = enhancers(options, table, np.log(reads + 1.0), fold)
    print(
        f"\n| effects | n | {' | '.join(READOUTS)} | fine-tuned − lentiMPRA |\n| --- | ---: | --- | --- | --- | --- |"
    )
    for name in options.sets or SETS:
        effects(options, name, refits)


def folds_of(chrom: pd.Series) -> np.ndarray:
    """Groups of chromosomes, the same for enhancers and variants of any assembly."""
    names = [*map(str, range(1, 23)), "X", "Y"]
    place = {name: number % FOLDS for number, name in enumerate(names)}
    return chrom.astype(str).map(plain_contig).map(place).fillna(0).to_numpy(int)


def tool(name: str, *arguments: object) -> None:
    """Run one of the tools."""
    subprocess.run([sys.executable, str(ROOT / "bin" / f"{name}.py"), *map(str, arguments)], check=True)


def stores(options: argparse.Namespace, table: pd.DataFrame, reads: np.ndarray, fold: np.ndarray) -> None:
    """One library of one donor who has the reference genome: each enhancer is a contig, of which its sequence is known."""
    if (options.work / "haplotypes").is_dir():
        return
    length, width = len(table["seq"].iloc[0]), WIDTH + 2 * SHIFT
    names = table["chr"] + "_" + table["start_hg38"].astype(str)
    start = (length - width) // 2
    windows = pd.DataFrame(
        {"chrom": names, "start": start, "end": start + width, "name": names, "score": 0, "strand": ".", "fold": fold}
    )
    library = pd.DataFrame({"library": ["merged"], "donor": ["reference"], "total_reads": [int(reads.sum())]})
    write_element_counts(windows[WINDOW_COLUMNS], library, reads[:, None], options.work / "counts")
    fasta, vcf = options.work / "enhancers.fa", options.work / "reference.vcf"
    fasta.write_text("".join(f">{name}\n{seq}\n" for name, seq in zip(names, table["seq"], strict=True)))
    pysam.faidx(str(fasta))
    contigs = "".join(f"##contig=<ID={name},length={length}>\n" for name in names)
    vcf.write_text(
        f'##fileformat=VCFv4.2\n{contigs}##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\treference\n"
        + "".join(
            f"{name}\t1\t.\t{seq[0]}\t<NON_REF>\t.\t.\t.\tGT\t0|0\n"
            for name, seq in zip(names, table["seq"], strict=True)
        )
    )
    tool(
        "extract_haplotypes", "--vcf", pysam.tabix_index(str(vcf), preset="vcf", force=True), "--fasta", fasta,
        "--windows", options.work / "counts" / "windows.bed", "--out", options.work / "haplotypes",
    )  # fmt: skip


def checkpoint(options: argparse.Namespace, number: int, held: int) -> Path:
    """Where a network of the box goes on from, without a group of chromosomes."""
    folder: Path = options.work / f"finetuned-{options.max_lr:g}-{options.epochs}"
    return folder / f"network{number}" / f"fold{held}-seed{number}"


def finetune(options: argparse.Namespace, start: Path, number: int, held: int) -> None:
    """Fine-tune a network of the box, trunk and head; the best epoch on another group of chromosomes is kept."""
    out = checkpoint(options, number, held)
    if not out.is_dir():
        tool(
            "finetune_model", "--counts", options.work / "counts", "--haplotypes", options.work / "haplotypes", "--init",
            start, "--out", out, "--genotypes", "reference", "--target-width", WIDTH, "--max-shift", SHIFT, "--loss", "mse",
            "--test-fold", held, "--validation-fold", (held + 1) % FOLDS, "--test-donor-fraction", 0, "--max-lr",
            options.max_lr, "--epochs", options.epochs, "--average", 0.98, "--seed", number, "--device", "cpu",
            "--threads", options.threads,
        )  # fmt: skip


def enhancers(
    options: argparse.Namespace, table: pd.DataFrame, level: np.ndarray, fold: np.ndarray
) -> list[list[np.ndarray]]:
    """Print r with log counts; the refitted last layer of each network and group of chromosomes."""
    first = (table["seq"].str.len().iloc[0] - WIDTH) // 2
    middles = table["seq"].str.slice(first, first + WIDTH)
    networks = members([find_model("lentimpra")])
    refits: list[list[np.ndarray]] = []
    values = {name: np.zeros((len(table), len(networks))) for name in READOUTS}
    for number, folder in enumerate(networks):
        own = features(options, f"enhancers.{number}", folder, middles)
        fits = [ridge(own[fold != held], level[fold != held]) for held in range(FOLDS)]
        refits.append([weight for weight, _ in fits])
        values["lentiMPRA"][:, number] = own @ head(folder)
        for held, (weight, bias) in enumerate(fits):
            if held not in options.folds:
                continue
            mine = fold == held
            values["last layer refitted"][mine, number] = own[mine] @ weight + bias
            tuned = checkpoint(options, number + 1, held)
            found = features(options, f"enhancers.{tuned.parent.parent.name}.{number}.{held}", tuned, middles[mine])
            values["fine-tuned"][mine, number] = found @ head(tuned) + offset(tuned)
    new = ~allelegro.load("lentimpra", device="cpu").saw(middles)
    gc = middles.str.count("[GC]").to_numpy(float)[:, None]
    print(f"| enhancers held out by chromosome | n | G+C | {' | '.join(READOUTS)} | fine-tuned − lentiMPRA |")
    print("| --- | ---: | --- | --- | --- | --- | --- |")
    tested = np.isin(fold, options.folds)
    for subset, mask in {"all": tested, "unlike lentiMPRA's elements": tested & new}.items():
        print_row(subset, {"G+C": gc[mask]} | {name: found[mask] for name, found in values.items()}, level[mask], None)
    return refits


def print_row(title: str, values: dict[str, np.ndarray], measured: np.ndarray, clusters: np.ndarray | None) -> None:
    """r of each, the mean over its networks, and the difference of the fine-tuned one from the box's."""

    def said(make: Callable[..., Callable[..., np.ndarray]], given: list[np.ndarray], sign: str) -> str:
        found = bootstrap_members(make(measured), given, clusters, 1000, 0)
        return f"{found.value:{sign}.3f} [{found.ci_low:{sign}.3f}, {found.ci_high:{sign}.3f}]"

    cells = [said(pearson_with, [found], "") for found in values.values()]
    cells.append(said(pearson_difference_with, [values["fine-tuned"], values["lentiMPRA"]], "+"))
    print(f"| {title} | {len(measured):,} | {' | '.join(cells)} |", flush=True)


def effects(options: argparse.Namespace, name: str, refits: list[list[np.ndarray]]) -> None:
    """r with the measured effects of a set, before and after."""
    source = SOURCES[name]
    table = read_measured(options.data / source.path, source.kind).table
    table = table[np.isin(folds_of(table["chrom"]), options.folds)]
    table = table[table["significant"] == 1] if SETS[name] == "significant" else table
    if options.sample is not None and options.sample < len(table):
        table = table.sample(options.sample, random_state=0)
    table = table.reset_index(drop=True)
    fold = folds_of(table["chrom"])
    networks = members([find_model("lentimpra")])
    values = {readout: np.zeros((len(table), len(networks))) for readout in READOUTS}
    for seed in range(options.surroundings):
        constructs = {allele: placed(table, allele, 0, seed) for allele in ("ref", "alt")}
        for number, folder in enumerate(networks):
            key = f"{name}.{len(table)}.{seed}.{number}"
            change = of_change(options, key, folder, constructs)
            values["lentiMPRA"][:, number] += change @ head(folder)
            values["last layer refitted"][:, number] += (change * np.stack(refits[number])[fold]).sum(axis=1)
            for held in options.folds:
                tuned, mine = checkpoint(options, number + 1, held), fold == held
                part = {allele: sequences[mine] for allele, sequences in constructs.items()}
                own = of_change(options, f"{key}.{held}.{tuned.parent.parent.name}", tuned, part)
                values["fine-tuned"][mine, number] += own @ head(tuned)
    print_row(f"{source.title}, {SETS[name]}", values, table["measured"].to_numpy(float), clusters_of(table, 10_000))


def of_change(options: argparse.Namespace, key: str, folder: Path, constructs: dict[str, pd.Series]) -> np.ndarray:
    """How the features of a network change from the reference to the alternative allele ``[n, 256]``."""
    found = {allele: features(options, f"{key}.{allele}", folder, seq) for allele, seq in constructs.items()}
    return found["alt"] - found["ref"]


def head(folder: Path) -> np.ndarray:
    """The last layer of a checkpoint, of several outputs their mean ``[256]``."""
    network = load_module(folder)[0]
    assert isinstance(network, LegNet)
    weight: torch.Tensor = network.head[-1].weight
    return weight.detach()[0].double().numpy()


def offset(folder: Path) -> float:
    """What a fine-tuned checkpoint adds: networks of different groups of chromosomes are on one scale with it."""
    network = load_module(folder)[0]
    assert isinstance(network, LegNet)
    return float(network.head[-1].bias.detach()[0])


@torch.inference_mode()
def features(options: argparse.Namespace, name: str, folder: Path, sequences: pd.Series) -> np.ndarray:
    """What the last layer reads ``[sequence, 256]``, the mean of both strands."""
    kept = options.work / "features" / f"{name}.npy"
    if not kept.is_file():
        codes = torch.from_numpy(sequences_to_codes(sequences))
        both = torch.cat([codes, reverse_complement(codes)])
        network = load_module(folder)[0].eval()
        read: list[torch.Tensor] = []
        hook = network.head[-1].register_forward_pre_hook(lambda _, given: read.append(given[0]))
        with torch.autocast("cpu", torch.bfloat16):
            for part in torch.split(both, 512):
                network(LegNet.encode(part))
        hook.remove()
        kept.parent.mkdir(exist_ok=True)
        np.save(kept, torch.cat(read).double().view(2, len(codes), -1).mean(0).numpy())
    return np.load(kept)


if __name__ == "__main__":
    main()
