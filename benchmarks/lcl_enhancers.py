#!/usr/bin/env python3
"""Real LCL PRO-cap at reference level: the box's read-out refitted on enhancers, and LCL variant effects before and after.

    python benchmarks/lcl_enhancers.py --data DATA --work WORK

DATA holds ``lcl_procap_enhancers`` (4,138 enhancers, reads merged over the libraries of Kristjansdottir 2020; trusted are
those whose centre is within 40 bp of the element's), ``lcl_mpra_abell``, ``lcl_dsqtl`` and ``tewhey_lcl``. The networks of the
box are kept as they are; only their last layer is fitted again, in closed form, as fine-tuning begins: a ridge of log
counts on the 256 features of the central 230 bp, both strands. Chromosomes are held out in five groups, and a variant is
scored by the read-out that did not have its chromosome. Prints r with log counts of held-out enhancers, and r with
measured effects of the networks' own read-out and of the refitted one, and their difference. WORK keeps the features.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bin"))

import numpy as np
import pandas as pd
import torch
from real_effects import SOURCES
from scoring_choices import placed

import allelegro
from allelegro.effects.measured import read_measured
from allelegro.io.contigs import plain_contig
from allelegro.io.tables import GUESS, read_table
from allelegro.models.box import find_model
from allelegro.models.checkpoint import load_module
from allelegro.models.encoding import reverse_complement
from allelegro.models.ensemble import members
from allelegro.models.legnet import LegNet
from allelegro.statistics import pearson_ci, ridge
from allelegro.training.mpra import sequences_to_codes

FOLDS, WIDTH, TRUSTED = 5, 230, 40
SETS = {"abell": "significant", "tewhey": "significant", "dsqtl": "all"}


def main() -> None:
    """Fit the read-outs and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--set", dest="sets", choices=SETS, action="append", help="repeatable; default: all")
    parser.add_argument("--sample", type=int, default=800, help="so many variants of a set at random, at most")
    parser.add_argument("--surroundings", type=int, default=2, help="random sequences around alleles")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    table = read_table(options.data / "lcl_procap_enhancers" / "ttre_counts_with_sequence.tsv.gz", others=GUESS)
    table = table[table["offset"].abs() <= TRUSTED].reset_index(drop=True)
    middle = (table["seq"].str.len().iloc[0] - WIDTH) // 2
    level = np.log(table["plus"].to_numpy(float) + table["minus"].to_numpy(float) + 1)
    found = features(options, "enhancers", table["seq"].str.slice(middle, middle + WIDTH))
    fold = folds_of(table["chr"])
    weights, predicted = [], np.zeros((len(found), len(table)))
    for number, own in enumerate(found):
        fits = [ridge(own[fold != held], level[fold != held]) for held in range(FOLDS)]
        weights.append(np.stack([weight for weight, _ in fits]))
        for held, (weight, bias) in enumerate(fits):
            predicted[number, fold == held] = own[fold == held] @ weight + bias
    print("| enhancers held out by chromosome | n | r with log counts |\n| --- | ---: | --- |")
    own = np.mean([features_ @ head for features_, head in zip(found, heads(), strict=True)], axis=0)
    middles = table["seq"].str.slice(middle, middle + WIDTH)
    gc = middles.str.count("[GC]").to_numpy(float)
    new = ~allelegro.load("lentimpra", device="cpu").saw(middles)
    for subset, mask in {"all": np.ones(len(table), bool), "unlike lentiMPRA's elements": new}.items():
        for name, values in {"G+C": gc, "lentiMPRA read-out": own, "refitted": predicted.mean(axis=0)}.items():
            r = pearson_ci(values[mask], level[mask])
            print(f"| {subset}: {name} | {r.n:,} | {r.value:.3f} [{r.ci_low:.3f}, {r.ci_high:.3f}] |")
    print("\n| effects | n | lentiMPRA read-out, r | refitted, r |\n| --- | ---: | --- | --- |")
    for name in options.sets or SETS:
        effects(options, name, weights)


def folds_of(chrom: pd.Series) -> np.ndarray:
    """Groups of chromosomes, the same for enhancers and variants of any assembly."""
    names = [*map(str, range(1, 23)), "X", "Y"]
    place = {name: number % FOLDS for number, name in enumerate(names)}
    return chrom.astype(str).map(plain_contig).map(place).fillna(0).to_numpy(int)


def effects(options: argparse.Namespace, name: str, weights: list[np.ndarray]) -> None:
    """r with the measured effects of a set, before and after."""
    source, subset = SOURCES[name], SETS[name]
    table = read_measured(options.data / source.path, source.kind).table
    table = table[table["significant"] == 1] if subset == "significant" else table
    if options.sample < len(table):
        table = table.sample(options.sample, random_state=0)
    fold = folds_of(table["chrom"])
    before, after = np.zeros(len(table)), np.zeros(len(table))
    for seed in range(options.surroundings):
        sides = [
            features(options, f"{name}.{len(table)}.{allele}.{seed}", placed(table, allele, 0, seed))
            for allele in ("ref", "alt")
        ]
        for ref, alt, head, weight in zip(*sides, heads(), weights, strict=True):
            before += (alt - ref) @ head
            after += ((alt - ref) * weight[fold]).sum(axis=1)
    r = [pearson_ci(values, table["measured"]) for values in (before, after)]
    cells = " | ".join(f"{one.value:.3f} [{one.ci_low:.3f}, {one.ci_high:.3f}]" for one in r)
    print(f"| {source.title}, {subset} | {len(table):,} | {cells} |", flush=True)


def heads() -> list[np.ndarray]:
    """The networks' last layers, the mean of their outputs."""
    return [
        load_module(folder)[0].head[-1].weight.detach()[0].double().numpy()
        for folder in members([find_model("lentimpra")])
    ]


@torch.inference_mode()
def features(options: argparse.Namespace, name: str, sequences: pd.Series) -> np.ndarray:
    """What the last layer reads ``[network, sequence, 256]``, the mean of both strands."""
    kept = options.work / f"{name}.npy"
    if not kept.is_file():
        codes = torch.from_numpy(sequences_to_codes(sequences))
        both = torch.cat([codes, reverse_complement(codes)])
        parts = []
        for folder in members([find_model("lentimpra")]):
            network = load_module(folder)[0].eval()
            read: list[torch.Tensor] = []
            hook = network.head[-1].register_forward_pre_hook(lambda _, given, into=read: into.append(given[0]))
            with torch.autocast("cpu", torch.bfloat16):
                for part in torch.split(both, 512):
                    network(LegNet.encode(part))
            hook.remove()
            parts.append(torch.cat(read).double().view(2, len(codes), -1).mean(0).numpy())
        np.save(kept, np.stack(parts))
    return np.load(kept)


if __name__ == "__main__":
    main()
