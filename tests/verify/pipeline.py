"""Whole runs of the pipeline on a tiny simulated cohort: with names, cells and values that are programs, and twice."""

import json
import shutil
from pathlib import Path

import pysam

from helpers.attacks import HOSTILE, Tally, executed
from helpers.pipeline import ROOT, Run, nextflow
from helpers.tools import run

# A cohort so small that every process runs for seconds.
SIZES = (
    "--individuals 4 --second-libraries 0 --loci 36 --chromosomes 3 --spacing 13000 --mpra-elements 200 "
    "--reads-per-library 4000 --satmut-elements 2 --seed 3"
)
QUICK = {
    "models": "legnet", "model_size": "tiny", "pretrain_epochs": 1, "finetune_epochs": 1, "bootstraps": 100,
    "min_donors": 1, "folds": 3, "max_cpus": 1, "max_memory": "4 GB", "umi": "RX", "score_seen": True, "null_variants": 20,
}  # fmt: skip
FILES = {
    "libraries": "libraries.tsv", "genome": "genome.fa", "variants": "variants.vcf.gz", "mpra": "mpra.tsv",
    "variant_sets": "variant_sets.tsv",
}  # fmt: skip
PATTERN = "*?[]{}\\"  # what makes a name a pattern of names: such a file is not found, which is said at once
# Options that name files or folders of the user.
PATHS = (
    "libraries", "genome", "variants", "mpra", "variant_sets", "comparators", "covariates", "score", "peaks", "windows",
    "counts", "haplotypes", "checkpoint", "trained", "bowtie2_index", "unwanted", "blacklist", "tss", "annotation",
    "motifs",
)  # fmt: skip
TEXTS = (
    "umi",
    "umi_pattern",
    "adapter",
    "title",
    "note",
    "pretrained_from",
    "score_models",
    "saturate",
    "models",
    "seeds",
)
MOTIF = "MEME version 4\n\nMOTIF {name}\nletter-probability matrix: alength= 4 w= 2 nsites= 9\n0.9 0.03 0.03 0.04\n0.03 0.9 0.03 0.04\n"


def cohort(folder: Path) -> Path:
    """A simulated cohort in ``folder / sim``."""
    done = run(folder, "simulate_cohort", ["--out", "sim", *SIZES.split()])
    if done.returncode:
        raise RuntimeError(done.stderr)
    return folder / "sim"


def launch(folder: Path, given: dict[str, object], *options: str) -> Run:
    """A run in ``folder`` with parameters from a file, where no value is an option of Nextflow."""
    folder.mkdir(exist_ok=True)
    (folder / "params.json").write_text(json.dumps(given))
    return nextflow(folder, "run", f"{ROOT}/main.nf", "-params-file", "params.json", *options)


def problems(done: Run, *, may_fail: bool = False) -> list[tuple[str, str]]:
    """What is wrong with how a run ended."""
    found = []
    if "Traceback" in done.output:
        found.append(("traceback", done.output))
    if any(word in done.output for word in ("groovy.lang.", "java.lang.", "NullPointer", "Check script")):
        found.append(("traceback", done.output))
    said = any(words in done.output for words in ("ERROR ~", "error: ", " with the parameters ("))
    if done.status and not (may_fail and said):
        found.append(("not one line", done.output))
    return found


def same_runs(scratch: Path) -> Tally:
    """Two runs of the same inputs: the same SHA256SUMS."""
    tally, sums = Tally("same bytes: whole runs"), []
    sim = cohort(scratch)
    given = QUICK | {name: f"{sim}/{file}" for name, file in FILES.items()} | {"outdir": "results"}
    for name in ("first", "second"):
        done = launch(scratch / name, given)
        listing = done.results / "SHA256SUMS"
        sums.append(set(listing.read_text().splitlines()) if listing.is_file() else set())
        tally.note(name, problems(done))
    differ = sorted({line.split("  ", 1)[1] for line in sums[0] ^ sums[1]})
    tally.note("comparison", [("lost", f"differ: {', '.join(differ)}")] if differ or not sums[0] else [])
    return tally


def texts(most: int, unwanted: str = "") -> list[str]:
    """All hostile strings that hold none of the ``unwanted`` characters and no line break or tab, joined into ``most``."""
    wanted = [text for text in HOSTILE if text.isprintable() and not set(text) & set(unwanted)]
    return [" ".join(wanted[at::most]) for at in range(most)]


def hostile_cohort(sim: Path, here: Path) -> dict[str, object]:
    """A cohort whose donors, files and folders have hostile names, as parameters of a run."""
    here.mkdir()
    names = texts(16, PATTERN + "/")
    donors = dict(zip((f"SIM000{n}" for n in range(1, 5)), texts(4, "/"), strict=True))

    def place(option: str, content: Path | str, suffix: str) -> str:
        """A file of this content and a hostile name; its path."""
        target = here / f"{option} {names[len(list(here.iterdir())) % len(names)]}{suffix}"
        if isinstance(content, Path):
            shutil.copy(content, target)
        else:
            target.write_text(content, encoding="utf-8")
        return str(target)

    def sheet(option: str, rows: list[list[str]]) -> str:
        return place(option, "".join("\t".join(row) + "\n" for row in rows), ".tsv")

    genome = place("g", sim / "genome.fa", ".fa")
    pysam.faidx(genome)
    with pysam.VariantFile(str(sim / "variants.vcf.gz")) as source:
        lines = [*str(source.header).splitlines(), *(str(record).rstrip("\n") for record in source)]
    at = next(number for number, line in enumerate(lines) if line.startswith("#CHROM"))
    lines[at] = "\t".join(donors.get(cell, cell) for cell in lines[at].split("\t"))
    plain = place("v", "\n".join(lines) + "\n", ".vcf")
    pysam.tabix_compress(plain, f"{plain}.gz")
    pysam.tabix_index(f"{plain}.gz", preset="vcf")
    Path(plain).unlink()
    libraries = [["library", "donor", "bam"]]
    for number, (name, donor) in enumerate(donors.items(), 1):
        bam = sim / "libraries" / f"{name}_1.bam"
        named = place(f"r{number}", bam, ".bam")
        shutil.copy(f"{bam}.bai", f"{named}.bai")
        libraries.append([f"L{number}", donor, named])
    truth, table = place("e", sim / "truth" / "effects.tsv", ".tsv"), place("k", sim / "lentimpra.cell1.tsv", ".tsv")
    outside = [line.split("\t") for line in (sim / "truth" / "effects.tsv").read_text().splitlines()]
    columns = [outside[0].index(name) for name in ("chrom", "pos", "ref", "alt")]
    scored = [[*(row[at] for at in columns), str(number)] for number, row in enumerate(outside[1:])]
    comparator = sheet("o", [["chrom", "pos", "ref", "alt", "score"], *scored])
    contig = Path(f"{genome}.fai").read_text().split("\t")[0]
    gtf = f'{contig}\tx\tgene\t1001\t2000\t.\t+\t.\tgene_id "$(touch PWNED)"; gene_name "`touch PWNED`";\n'
    return {
        "genome": genome, "variants": f"{plain}.gz", "libraries": sheet("l", libraries),
        "covariates": sheet("c", [["donor", "batch"], *([donor, HOSTILE[at % 2]] for at, donor in enumerate(donors.values()))]),
        "mpra": sheet("m", [["name", "table"], ["cell1", table]]),
        "variant_sets": sheet("v", [["name", "kind", "table"], ["truth", "truth", truth]]),
        "comparators": sheet("q", [["set", "name", "table"], ["truth", "outside", comparator]]),
        "blacklist": place("b", f"{contig}\t0\t10\t$(touch PWNED)\n", ".bed"),
        "tss": place("t", f"{contig}\t1000\t1001\t$(touch PWNED)\t0\t+\n", ".bed"),
        "annotation": place("a", gtf, ".gtf"), "motifs": place("p", MOTIF.format(name=texts(1)[0]), ".meme"),
        "score": place("s", sim / "variants.vcf.gz", ".vcf.gz"), "title": texts(1)[0], "note": "\n".join(HOSTILE),
        "checkpoints": str(here / texts(1, PATTERN + "/")[0]), "saturate": "legnet",
    }  # fmt: skip


def hostile_runs(scratch: Path) -> Tally:
    """Runs whose every name, donor and text is hostile end well; values that cannot be are refused; none is executed."""
    tally, name = Tally("hostile names and cells: whole runs"), texts(1, PATTERN + "/")[0]
    sim, folder = cohort(scratch), scratch / "run"
    given = hostile_cohort(sim, scratch / f"in {name}")

    def whole(case: str, values: dict[str, object], results: str) -> Path:
        done = launch(folder, QUICK | values | {"outdir": results})
        found = problems(done) + executed(scratch)
        if not found and not (folder / results / "report" / "report.html").is_file():
            found.append(("lost", f"no report: {done.output}"))
        tally.note(case, found)
        return folder / results

    out = whole("names, donors and texts of a whole run", given, f"results {name}")
    if tally.faults:
        return tally  # the other runs take what this one made
    models = scratch / f"models {name}"
    shutil.copytree(out / "training" / "finetuned" / "legnet", models / "legnet")
    shutil.copytree(next(out.glob("training/pretrained/*/*/model.json")).parent, models / "start")
    kept = {option: given[option] for option in ("genome", "score", "annotation", "motifs")}
    whole("a trained model", kept | {"trained": f"{models}/legnet", "windows": f"{out}/procap/windows.bed"}, "scored")
    stores = {"counts": f"{out}/procap/counts", "haplotypes": f"{out}/genotype/haplotypes"}
    whole("stores and a start", stores | {"checkpoint": f"{models}/start"}, "finetuned")

    for text in HOSTILE:  # as paths that are not there, and as texts: what is wrong is said of all at once
        values = {option: f"{scratch}/{text}" for option in PATHS} | dict.fromkeys(TEXTS, text)
        done = launch(scratch / "refused", values, "-preview")
        tally.note(f"parameters {text!r}", problems(done, may_fail=True) + executed(scratch))
    return tally
