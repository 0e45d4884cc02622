"""Toy genome, variants and checkpoints for the tests of variant effects."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pysam
import torch

from allelegro.models.checkpoint import LoadedModel, load_model, save_model
from allelegro.models.legnet import PRESETS, LegNet

ADAPTORS = {"left": "AGGACCGGATCAACT", "right": "CATTGCGTGAACCGA"}


def write_genome(path: Path, contigs: dict[str, int], seed: int = 0) -> dict[str, str]:
    """Write an indexed FASTA of random contigs; their sequences."""
    rng = np.random.default_rng(seed)
    genome = {name: "".join(rng.choice(list("ACGT"), length)) for name, length in contigs.items()}
    write_fasta(path, genome)
    return genome


def write_fasta(path: Path, genome: dict[str, str]) -> None:
    lines = [
        f">{name}\n" + "\n".join(text[i : i + 60] for i in range(0, len(text), 60)) for name, text in genome.items()
    ]
    path.write_text("\n".join(lines) + "\n")
    pysam.faidx(str(path))


def write_checkpoint(
    path: Path, width: int = 60, context: dict[str, str] | None = None, seed: int = 0, **training: Any
) -> LoadedModel:
    """A tiny LegNet whose random weights make alleles differ clearly."""
    torch.manual_seed(seed)
    module = LegNet(**PRESETS["tiny"]).eval()
    for parameter in module.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0.0, 2 * parameter[0].numel() ** -0.5)
    config = {
        "architecture": "legnet",
        "hyperparameters": dict(PRESETS["tiny"]),
        "width": width,
        "target": {"kind": "log2_activity"},
        "context": context,
        "training": {"held_out_chromosomes": None, "held_out_regions": None, **training},
    }
    save_model(path, module, config, pd.DataFrame({"epoch": [1], "loss": [0.0]}))
    return load_model(path)


def write_vcf(path: Path, contigs: dict[str, int], records: list[tuple[str, int, str, str, str]]) -> None:
    """Write a plain VCF of (chrom, pos, id, ref, alt)."""
    header = ["##fileformat=VCFv4.2", *(f"##contig=<ID={name},length={length}>" for name, length in contigs.items())]
    header.append("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO")
    rows = ["\t".join([chrom, str(pos), name, ref, alt, ".", ".", "."]) for chrom, pos, name, ref, alt in records]
    path.write_text("\n".join([*header, *rows]) + "\n")
