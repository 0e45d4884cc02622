"""A small, valid set of inputs for every tool, made by the tools themselves, so that tests can spoil one at a time."""

import contextlib
import importlib
import io
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Call:
    """One valid call of a tool: input options with their files or folders, output options, and everything else."""

    tool: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    rest: tuple[str, ...] = ()

    def arguments(self, changed: dict[str, str] | None = None) -> list[str]:
        """The command line, with some inputs changed."""
        options = self.inputs | self.outputs | (changed or {})
        return [part for option, path in options.items() for part in (f"--{option}", path)] + list(self.rest)


@dataclass(frozen=True)
class Done:
    """Exit status of a tool and what it said on stderr."""

    returncode: int
    stderr: str


def run(folder: Path, tool: str, arguments: list[str]) -> Done:
    """Run a tool in ``folder`` as its executable does, but in this process: hundreds of starts of Python would take minutes."""
    app = importlib.import_module(f"allelegro.cli.{tool}").app
    said, status = io.StringIO(), 0
    handlers, logging.root.handlers = logging.root.handlers, []
    try:
        with contextlib.chdir(folder), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            app(arguments)
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    finally:
        logging.root.handlers = handlers
    return Done(status, said.getvalue())


SIZES = (
    "--individuals 3 --second-libraries 0 --loci 24 --chromosomes 2 --spacing 6000 --mpra-elements 200 "
    "--reads-per-library 4000 --satmut-elements 2 --seed 3"
)
COVERAGE = {"plus": "a.plus.bw", "minus": "a.minus.bw"}
FOLDS = ("--min-donors", "1", "--folds", "blocks", "--n-folds", "3", "--gap", "0")
STORES = {"counts": "counts", "haplotypes": "haplotypes"}

GENES = 'chr1\tx\tgene\t1001\t2000\t.\t+\t.\tgene_id "g1"; gene_name "ONE";\n'
MOTIFS = """MEME version 4

MOTIF M1 one
letter-probability matrix: alength= 4 w= 3 nsites= 9
0.94 0.02 0.02 0.02
0.02 0.94 0.02 0.02
0.02 0.02 0.94 0.02
"""

CALLS = [
    Call("procap_coverage", {"reads": "a.bam"}, {"out-prefix": "out/a"}, ("--library", "SIM0001_1", "--umi", "RX")),
    Call("procap_coverage", COVERAGE, {"out-prefix": "out/a"}, ("--library", "SIM0001_1")),
    Call("call_peaks", COVERAGE, {"out": "out/a.peaks.bed", "out-elements": "out/a.elements.bed"}),
    Call(
        "merge_peaks", {"sheet": "peaks.tsv", "fasta": "sim/genome.fa"},
        {"out": "out/windows.bed", "out-summary": "out/summary.json"}, FOLDS,
    ),
    Call("count_windows", {"windows": "windows.bed", "sheet": "sim/signals.tsv"}, {"out": "out/counts"}),
    Call(
        "count_alleles", {"reads": "a.bam", "vcf": "sim/variants.vcf.gz", "windows": "windows.bed"},
        {"out-prefix": "out/a"}, ("--library", "SIM0001_1", "--donor", "SIM0001", "--umi", "RX"),
    ),
    Call(
        "match_donors", {"reads": "a.bam", "vcf": "sim/variants.vcf.gz"}, {"out": "out/a.donors.tsv"},
        ("--library", "SIM0001_1", "--donor", "SIM0001"),
    ),
    Call("library_qc", {"counts": "counts", "folder": "qc"}, {"out": "out/qc"}),
    Call(
        "extract_haplotypes",
        {"vcf": "sim/variants.vcf.gz", "fasta": "sim/genome.fa", "windows": "windows.bed"}, {"out": "out/haplotypes"},
    ),
    Call("genotype_report", {"store": "haplotypes"}, {"out": "out/qc"}),
    Call("export_haplotypes", {"store": "haplotypes"}, {"fasta": "out/h.fa", "summary": "out/h.tsv"}),
    Call("prepare_mpra", {"table": "sim/lentimpra.cell1.tsv", "compare-windows": "windows.bed"}, {"out": "out/cell1.tsv"}, ("--name", "cell1")),
    Call("pretrain_legnet", {"table": "cell1.tsv", "held-out-windows": "windows.bed"}, {"out": "out/model"},
         ("--preset", "tiny", "--epochs", "1", "--batch-size", "64")),
    Call("finetune_model", STORES | {"init": "model"}, {"out": "out/model"}, ("--epochs", "1")),
    Call(
        "evaluate_procap", STORES,
        {"out-metrics": "out/metrics.tsv", "out-predictions": "out/predictions.parquet"},
        ("--model", "m=finetuned", "--bootstraps", "100"),
    ),
    Call(
        "score_variants", {"checkpoint": "finetuned", "variants": "sim/variants.vcf.gz", "fasta": "sim/genome.fa"},
        {"out": "out/scores.tsv", "dropped": "out/dropped.tsv"}, ("--all-models",),
    ),
    Call("fit_kmers", {"table": "cell1.tsv"}, {"out": "out/kmers.npz"}),
    Call(
        "benchmark_variants",
        {"scores": "scores.tsv", "truth": "sim/truth/effects.tsv", "fasta": "sim/genome.fa", "kmers": "kmers.npz"},
        {"out": "out/metrics.tsv", "points": "out/points.tsv.gz"},
        ("--kind", "truth", "--dataset", "truth", "--n-boot", "100"),
    ),
    Call(
        "saturate_sequences", {"checkpoint": "finetuned", "fasta": "sim/genome.fa", "windows": "windows.bed"},
        {"out": "out/saturation"}, ("--count", "1", "--all-models"),
    ),
    Call(
        "explain_variants", {"scores": "scores.tsv", "checkpoint": "finetuned", "fasta": "sim/genome.fa"},
        {"out": "out/importance.tsv"}, ("--count", "2", "--span", "10", "--all-models"),
    ),
    Call(
        "check_inputs",
        {"libraries": "sim/libraries.tsv", "mpra": "sim/mpra.tsv", "variant-sets": "sim/variant_sets.tsv",
         "genome": "sim/genome.fa", "variants": "sim/variants.vcf.gz"},
        {"out": "out/inputs.json"},
    ),
    Call("prepare_windows", {"windows": "windows.bed", "fasta": "sim/genome.fa"},
         {"out": "out/windows.bed", "out-summary": "out/summary.json"}, ("--folds", "blocks", "--n-folds", "3", "--gap", "0")),
    Call("call_allelic_events", {"snvs": "a.snvs.tsv.gz"}, {"out": "out/allelic_events.tsv"}, ("--allow-none",)),
    Call(
        "rank_variants",
        {"scores": "scores.tsv", "counts": "counts", "annotation": "genes.gtf", "motifs": "motifs.meme",
         "fasta": "sim/genome.fa"},
        {"out": "out/variants.tsv", "out-calibration": "out/calibration.tsv"},
    ),
    Call("build_report", {"results": "results"}, {"out": "out/report"}),
]  # fmt: skip


def make_world(folder: Path) -> Path:
    """Simulate and take the cohort through every stage once; raises CalledProcessError when a valid call fails."""

    def do(tool: str, *arguments: str) -> None:
        done = run(folder, tool, list(arguments))
        assert done.returncode == 0, f"{tool}: {done.stderr}"

    do("simulate_cohort", "--out", "sim", *SIZES.split())
    for suffix in ("bam", "bam.bai"):
        shutil.copy(folder / "sim" / "libraries" / f"SIM0001_1.{suffix}", folder / f"a.{suffix}")
    do("procap_coverage", "--reads", "a.bam", "--umi", "RX", "--library", "SIM0001_1", "--out-prefix", "a")
    do("call_peaks", "--plus", "a.plus.bw", "--minus", "a.minus.bw", "--out", "a.peaks.bed",
       "--out-elements", "a.elements.bed")  # fmt: skip
    (folder / "peaks.tsv").write_text("library\tdonor\tpeaks\telements\na\tSIM0001\ta.peaks.bed\ta.elements.bed\n")
    do("merge_peaks", "--sheet", "peaks.tsv", "--fasta", "sim/genome.fa", "--out", "windows.bed",
       "--out-summary", "summary.json", *FOLDS)  # fmt: skip
    do("count_windows", "--windows", "windows.bed", "--sheet", "sim/signals.tsv", "--out", "counts")
    do("extract_haplotypes", "--vcf", "sim/variants.vcf.gz", "--fasta", "sim/genome.fa", "--windows", "windows.bed",
       "--out", "haplotypes")  # fmt: skip
    do("prepare_mpra", "--table", "sim/lentimpra.cell1.tsv", "--name", "cell1", "--out", "cell1.tsv")
    do("pretrain_legnet", "--table", "cell1.tsv", "--out", "model", "--preset", "tiny", "--epochs", "1")
    do("finetune_model", "--counts", "counts", "--haplotypes", "haplotypes", "--init", "model", "--out", "finetuned",
       "--epochs", "1")  # fmt: skip
    do("fit_kmers", "--table", "cell1.tsv", "--out", "kmers.npz")
    do("score_variants", "--checkpoint", "finetuned", "--variants", "sim/truth/effects.tsv", "--kind", "truth",
       "--fasta", "sim/genome.fa", "--out", "scores.tsv", "--all-models")  # fmt: skip
    do("count_alleles", "--reads", "a.bam", "--vcf", "sim/variants.vcf.gz", "--windows", "windows.bed", "--umi", "RX",
       "--library", "SIM0001_1", "--donor", "SIM0001", "--out-prefix", "a")  # fmt: skip
    (folder / "genes.gtf").write_text(GENES)
    (folder / "motifs.meme").write_text(MOTIFS)
    (folder / "qc").mkdir()
    for name in ("a.qc.json", "a.plus.bw", "a.minus.bw", "a.peaks.bed", "a.elements.bed"):
        shutil.copy(folder / name, folder / "qc")
    (folder / "results" / "procap").mkdir(parents=True)
    shutil.copy(folder / "windows.bed", folder / "results" / "procap")
    return folder
