#!/usr/bin/env python3
"""Variants per second of the whole process: score_variants.py, a plain bfloat16 loop, and tangermeme, on one input.

    python benchmarks/variant_scoring.py --work WORK --threads 2 --repeats 3 [--peer PEER/bin/python] [--width 230]
    python benchmarks/variant_scoring.py --work WORK --memory 10000 --memory 1000000

Published-size LegNet with random weights, random SNVs on a random genome, reference and alternative allele, one strand.
PEER is a Python with tangermeme 1.6.0 and the same torch. The plain loop and tangermeme run the network as published
(one-dimensional convolutions); the loop slices windows from a numpy genome and runs under bfloat16 autocast. Runs take
turns, so that a busy machine slows all of them; the medians' ratios are what counts. Effects are compared with float32.
With ``--memory`` the largest resident set is measured for so many variants, with a tiny network.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(__file__).parents[1] / "bin"
sys.path[0] = str(BIN)  # in place of this folder, whose coverage.py would hide the package that numba looks for

CONTIG, LENGTH, SEED, LOOP_BATCH = "chr1", 2_000_000, 7, 64


def main() -> None:
    """Dispatch: the whole comparison, the memory figures, or one contender (internal)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--width", type=int, default=1000)
    parser.add_argument("--variants", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer", type=Path, help="Python of the environment that has tangermeme")
    parser.add_argument("--memory", type=int, action="append", help="number of variants; repeatable")
    parser.add_argument("--contender", choices=("loop", "tangermeme"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        contender(options)
        return
    options.work.mkdir(parents=True, exist_ok=True)
    if options.memory:
        memory(options)
    else:
        compare(options)


def make_input(work: Path, width: int, variants: int, preset: str) -> None:
    """Genome, variants and a checkpoint with random weights of some effect."""
    import numpy as np
    import pandas as pd
    import pysam
    import torch

    from allelegro.models.checkpoint import save_model
    from allelegro.models.legnet import PRESETS, LegNet

    rng = np.random.default_rng(SEED)
    letters = rng.choice(np.frombuffer(b"ACGT", np.uint8), LENGTH)
    text = letters.tobytes().decode()
    (work / "genome.fa").write_text(f">{CONTIG}\n" + "\n".join(text[i : i + 60] for i in range(0, LENGTH, 60)) + "\n")
    pysam.faidx(str(work / "genome.fa"))
    pos = np.sort(rng.integers(width, LENGTH - width, variants))
    pos += np.arange(variants) % 2  # neighbours at one place are rare, as in a real file
    alt = np.frombuffer(b"CGTA", np.uint8)[np.searchsorted(np.frombuffer(b"ACGT", np.uint8), letters[pos - 1])]
    columns = {
        "chrom": CONTIG,
        "pos": pos,
        "ref": letters[pos - 1].view("S1").astype(str),
        "alt": alt.view("S1").astype(str),
    }
    pd.DataFrame(columns).drop_duplicates("pos").to_csv(work / "variants.tsv", sep="\t", index=False)
    torch.manual_seed(SEED)
    module = LegNet(**PRESETS[preset])
    for parameter in module.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0.0, 1.5 * parameter[0].numel() ** -0.5)
    starts = rng.integers(0, LENGTH - width, 64)  # batch normalisations as after training: scaled to what they see
    codes = np.searchsorted(np.frombuffer(b"ACGT", np.uint8), np.stack([letters[at : at + width] for at in starts]))
    for layer in module.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            layer.momentum = 1.0
    with torch.inference_mode():
        module.train()(LegNet.encode(torch.from_numpy(codes.astype(np.uint8))))
    module.eval()
    training = {"held_out_chromosomes": None, "held_out_regions": None}
    config = {
        "architecture": "legnet", "hyperparameters": dict(PRESETS[preset]), "width": width,
        "target": {"kind": "log2_activity"}, "context": None, "training": training,
    }  # fmt: skip
    save_model(work / "model", module, config, pd.DataFrame({"epoch": [0]}))


def ours(work: Path, threads: int, out: str, *extra: str) -> list[str]:
    """The command line of our tool."""
    return [
        sys.executable, str(BIN / "score_variants.py"), "--checkpoint", str(work / "model"), "--fasta",
        str(work / "genome.fa"), "--variants", str(work / "variants.tsv"), "--out", str(work / out), "--strands",
        "forward", "--threads", str(threads), "--device", "cpu", *extra,
    ]  # fmt: skip


def compare(options: argparse.Namespace) -> None:
    """Run the contenders in turns and print rates, ratios and the deviation from float32."""
    import numpy as np
    import pandas as pd

    work = options.work
    make_input(work, options.width, options.variants, "published")
    given = [
        str(Path(__file__).resolve()), "--work", str(work), "--width", str(options.width), "--threads", str(options.threads),
    ]  # fmt: skip
    commands = {
        "allelegro": ours(work, options.threads, "scores.tsv"),
        "plain bf16 loop": [sys.executable, *given, "--contender", "loop"],
    }
    if options.peer:
        commands["tangermeme"] = [str(options.peer), *given, "--contender", "tangermeme"]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    cpu: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(options.repeats):
        for name, command in commands.items():
            start, used = time.perf_counter(), cpu_seconds()
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - start)
            cpu[name].append(cpu_seconds() - used)
    n = len(pd.read_csv(work / "variants.tsv", sep="\t"))
    rates = {name: n / float(np.median(times)) for name, times in seconds.items()}
    print(
        f"{n:,} SNVs, {options.width} bp, {options.threads} threads, {options.repeats} repeats, load {os.getloadavg()[0]:.1f}"
    )
    for name, rate in rates.items():
        took, ratio = np.median(cpu[name]), np.median(cpu[name]) / np.median(cpu["allelegro"])
        print(
            f"{name:16s} {rate:8.1f} variants/s, allelegro is {rates['allelegro'] / rate:.2f} times as fast; "
            f"CPU {took:.1f} s, {ratio:.2f} times allelegro's"
        )
    subprocess.run(
        ours(work, options.threads, "fp32.tsv", "--precision", "fp32"), check=True, stderr=subprocess.DEVNULL
    )
    fast, exact = (pd.read_csv(work / name, sep="\t")["effect"].to_numpy() for name in ("scores.tsv", "fp32.tsv"))
    print(
        f"effects: SD {exact.std():.4f}; bf16 - fp32: SD {np.std(fast - exact):.5f}, largest {np.abs(fast - exact).max():.5f}, r {np.corrcoef(fast, exact)[0, 1]:.6f}"
    )
    for name in ("loop", "tangermeme"):
        if (work / f"{name}.npy").is_file():
            print(
                f"{name}: r of its effects with float32 {np.corrcoef(np.load(work / f'{name}.npy'), exact)[0, 1]:.6f}"
            )


def cpu_seconds() -> float:
    """CPU time of the finished child processes: what a busy machine changes least."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def contender(options: argparse.Namespace) -> None:
    """Score with the published one-dimensional network, by a plain loop or by tangermeme; writes its effects."""
    import numpy as np
    import pandas as pd
    import torch

    from allelegro.models.checkpoint import load_model
    from allelegro.models.device import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(options.threads)
    model = one_dimensional(load_model(options.work / "model").module).eval()
    table = pd.read_csv(options.work / "variants.tsv", sep="\t")
    text = "".join((options.work / "genome.fa").read_text().split("\n")[1:])
    lookup = np.zeros(256, np.int64)
    lookup[[ord(base) for base in "ACGT"]] = range(4)
    genome = lookup[np.frombuffer(text.encode(), np.uint8)]
    half = options.width // 2
    effects = []
    with torch.inference_mode():
        for first in range(0, len(table), LOOP_BATCH):
            rows = table.iloc[first : first + LOOP_BATCH]
            reference = torch.from_numpy(
                np.stack([genome[pos - 1 - half : pos - 1 - half + options.width] for pos in rows["pos"]])
            )
            alt = torch.from_numpy(lookup[[ord(base) for base in rows["alt"]]])
            if options.contender == "loop":
                effects.append(by_loop(model, reference, alt, half))
            else:
                effects.append(by_tangermeme(model, reference, alt, half))
    np.save(options.work / f"{options.contender}.npy", np.concatenate(effects))


def by_loop(model, reference, alt, half):  # type: ignore[no-untyped-def]
    """Reference and alternative in one call under bfloat16 autocast."""
    import torch

    alternative = reference.clone()
    alternative[:, half] = alt
    x = torch.nn.functional.one_hot(torch.cat([reference, alternative]), 4).transpose(1, 2).float()
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x).float().numpy().ravel()
    return y[len(alt) :] - y[: len(alt)]


def by_tangermeme(model, reference, alt, half):  # type: ignore[no-untyped-def]
    """tangermeme.variant_effect.substitution_effect, as its documentation calls it."""
    import torch
    from tangermeme.variant_effect import substitution_effect

    x = torch.nn.functional.one_hot(reference, 4).transpose(1, 2).float()
    rows = torch.arange(len(alt))
    substitutions = torch.stack([rows, torch.full_like(rows, half), alt], dim=1)
    before, after = substitution_effect(model, x, substitutions, device="cpu", batch_size=LOOP_BATCH)
    return (after - before).numpy().ravel()


def one_dimensional(network):  # type: ignore[no-untyped-def]
    """The same network written with Conv1d, BatchNorm1d and MaxPool1d, as the published code writes it."""
    import copy

    import torch
    from torch import nn

    class Flat(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x):  # type: ignore[no-untyped-def]
            hidden = self.inner.stem(x)
            for block in self.inner.blocks:
                expanded = block.inverted[:6](hidden)
                gate = block.inverted[6].gate(expanded.mean(2))
                projected = block.inverted[7:](expanded * gate[:, :, None])
                hidden = block.pool(block.local(torch.cat([projected, hidden], dim=1)))
            return self.inner.head(self.inner.mapper(hidden).mean(2))

    def flatten(module: nn.Module) -> None:
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d):
                flat = nn.Conv1d(
                    child.in_channels, child.out_channels, child.kernel_size[1], padding=child.padding[1],
                    groups=child.groups, bias=child.bias is not None,
                )  # fmt: skip
                flat.load_state_dict(
                    {key: value.squeeze(2) if key == "weight" else value for key, value in child.state_dict().items()}
                )
                setattr(module, name, flat)
            elif isinstance(child, nn.BatchNorm2d):
                normal = nn.BatchNorm1d(child.num_features)
                normal.load_state_dict(child.state_dict())
                setattr(module, name, normal)
            elif isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.MaxPool1d(child.kernel_size[1]))
            else:
                flatten(child)

    network = copy.deepcopy(network)
    flatten(network)
    return Flat(network)


def memory(options: argparse.Namespace) -> None:
    """Largest resident set of scoring more and more variants with a tiny network at 230 bp."""
    peaks = {}
    for variants in options.memory:
        make_input(options.work, 230, variants, "tiny")
        code = (
            "import json,resource,subprocess,sys;subprocess.run(json.loads(sys.argv[1]),check=True,stderr=subprocess.DEVNULL);"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        command = json.dumps(ours(options.work, options.threads, "scores.tsv"))
        start = time.perf_counter()
        result = subprocess.run([sys.executable, "-c", code, command], check=True, capture_output=True, text=True)
        peaks[variants] = int(result.stdout) / 1024
        print(
            f"{variants:>10,} variants: {peaks[variants]:.0f} MiB, {variants / (time.perf_counter() - start):.0f} variants/s"
        )


if __name__ == "__main__":
    main()
