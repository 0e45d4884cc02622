"""FASTQ to a sorted, deduplicated BAM by the field's own tools: umi_tools, cutadapt, bowtie2 and samtools, counting at each step."""

import json
import logging
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from allelegro.errors import DataError
from allelegro.io.atomic import atomic_path
from allelegro.io.checksums import refuse_repeated
from allelegro.provenance import program_version
from allelegro.resources import end_with_parent

# The 3' RNA adaptor of PRO-cap and small-RNA libraries (Illumina RA3).
RA3 = "TGGAATTCTCGGGTGCCAAGG"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AlignmentPlan:
    """How reads become alignments.

    ``umi`` and ``umi_2`` are umi_tools patterns at the 5' ends of read 1 and 2 (``NNNNNNNN``); ``adapter`` and ``adapter_2``
    3' adaptors; ``genome`` a FASTA or the prefix of a bowtie2 index; ``unwanted`` the same for rRNA or spike-ins, whose reads are
    excluded first; ``local`` lets bowtie2 clip ends, as the cap's non-templated G needs; ``deduplicate`` runs umi_tools dedup.
    With ``vcfs`` and ``donor``, reads that an allele swap moves are marked (:mod:`allelegro.procap.wasp`; ``min_mapq``
    is what they must come back with); ``skip_unusable`` warns of genotypes that cannot be used, and marks none.
    """

    genome: Path
    unwanted: Path | None = None
    umi: str | None = None
    umi_2: str | None = None
    adapter: str | None = RA3
    adapter_2: str | None = None
    min_length: int = 18
    local: bool = True
    deduplicate: bool = True
    threads: int = 1
    vcfs: Sequence[Path] = ()
    donor: str | None = None
    skip_unusable: bool = False
    min_mapq: int = 30


@dataclass
class _Steps:
    """The counts of one library, and what ran."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)

    def add(self, step: str, reads: int, reason: str | None = None) -> None:
        """Note a step, and the ``reason`` for which it dropped reads; raises DataError when it leaves nothing."""
        if not reads:
            before = f" of {self.steps[-1]['reads']}" if self.steps else ""
            raise DataError(
                f"no read{before} is left after the step '{step}'; check the input and the options of this step"
            )
        if reason:
            self.dropped[reason] = self.steps[-1]["reads"] - reads
        self.steps.append({"step": step, "reads": reads})

    def run(self, command: Sequence[str | Path], feed: Sequence[str | Path] | None = None) -> str:
        """Run a tool (``feed`` piped into it) and return what they wrote on stderr; DataError with the last line on failure."""
        shown = " ".join(map(str, command))
        self.commands.append(f"{' '.join(map(str, feed))} | {shown}" if feed else shown)
        log.info("%s", self.commands[-1])
        with (
            tempfile.TemporaryFile("w+", errors="replace") as first,
            tempfile.TemporaryFile("w+", errors="replace") as second,
        ):
            source = (
                subprocess.Popen(
                    [str(part) for part in feed], stdout=subprocess.PIPE, stderr=first, preexec_fn=end_with_parent
                )
                if feed
                else None
            )
            done = subprocess.run(
                [str(part) for part in command], stdin=source.stdout if source else None, stdout=subprocess.DEVNULL,
                stderr=second, check=False, preexec_fn=end_with_parent,
            )  # fmt: skip
            if source is not None and source.stdout is not None:
                source.stdout.close()
                source.wait()
            first.seek(0)
            second.seek(0)
            fed, said = first.read(), second.read()
        if source is not None and source.returncode and feed:
            raise DataError(f"{feed[0]} failed: {_last_line(fed)}")
        if done.returncode:
            raise DataError(f"{command[0]} failed: {_last_line(said)}")
        return fed + said


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def align_reads(
    library: str, runs: Sequence[tuple[Path, Path | None]], out: Path, plan: AlignmentPlan
) -> dict[str, Any]:
    """Align one library's FASTQ runs into ``out`` (BAM sorted by coordinate, with ``.bai``) and ``out`` with ``.counts.json``.

    Reads are pairs when both mates are given. Returns the JSON: its ``steps``, reads ``dropped`` by reason, ``complexity`` before duplicates were
    collapsed (else null; reads of mapping quality 30 and more), reads over heterozygous SNVs by what their ``allele_swap``
    does (null without genotypes), versions of the ``tools``, ``commands``.
    Raises DataError naming every missing tool, a missing file, a failed tool or the step that left no read.
    """
    from allelegro.inputs.references import check_fastq
    from allelegro.procap.bam import ReadRules
    from allelegro.procap.coverage import complexity_of_reads

    paired = runs[0][1] is not None
    versions = _find_tools(plan)
    for path in [path for run in runs for path in run if path is not None]:
        if path.is_file() and not path.stat().st_size:
            raise DataError(f"{path}: the file is empty; expected FASTQ")
        check_fastq(path)
    refuse_repeated(path for run in runs for path in run if path is not None)
    counted = _Steps()
    out.parent.mkdir(parents=True, exist_ok=True)
    index_path, counts_path = Path(f"{out}.bai"), out.with_suffix(".counts.json")
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".align-") as name:
        folder = Path(name)
        reads = _prepare(runs, plan, counted, folder)
        if plan.unwanted is not None:
            reads = _without_unwanted(reads, plan, counted, folder)
        aligned = folder / "aligned.bam"
        index_of_genome = _index(plan.genome, folder / "genome", plan, counted)
        group = ["--rg-id", library, "--rg", f"SM:{library}"]
        bowtie = [*_bowtie(plan, index_of_genome, reads), *group]
        sort: list[str | Path] = ["samtools", "sort", "-@", str(plan.threads - 1), "-T", folder / "sort", "-o"]
        said = counted.run([*sort, aligned, "-"], feed=bowtie)
        if plan.unwanted is not None:
            counted.add("not rRNA or spike-in", _bowtie_input(said), "rRNA or spike-in")
        counted.add("aligned", _count(aligned, paired), "unmapped")
        complexity = None
        if plan.umi and plan.deduplicate:
            complexity = complexity_of_reads(aligned, ReadRules(umi="name"))
            aligned = _deduplicate(aligned, paired, counted, folder)
        swapped = None
        if plan.vcfs:
            aligned, swapped = _mark_moved(aligned, index_of_genome, plan, counted, folder, paired)
        with atomic_path(out) as bam, atomic_path(index_path) as index, atomic_path(counts_path) as counts:
            counted.run(["samtools", "index", aligned, index])
            shutil.move(aligned, bam)
            document = {"library": library, "unit": "read pairs" if paired else "reads", "steps": counted.steps, "dropped": counted.dropped,
                        "deduplicated": complexity is not None, "complexity": complexity, "allele_swap": swapped, "tools": versions, "commands": [line.replace(f"{folder}/", "") for line in counted.commands]}  # fmt: skip
            counts.write_text(json.dumps(document, indent=1) + "\n")
    return document


def _find_tools(plan: AlignmentPlan) -> dict[str, str]:
    """Versions of the tools the plan needs; DataError with every one that is not on PATH."""
    needed = ["cutadapt", "bowtie2", "samtools", *(["umi_tools"] if plan.umi else [])]
    missing = [tool for tool in needed if shutil.which(tool) is None]
    if missing:
        raise DataError(
            f"not on PATH: {', '.join(missing)}; install {'it' if len(missing) == 1 else 'them'}, use the container, "
            "or give BAM files instead of FASTQ"
        )
    return {tool: program_version(tool) for tool in needed}


def _prepare(
    runs: Sequence[tuple[Path, Path | None]], plan: AlignmentPlan, counted: _Steps, folder: Path
) -> list[tuple[Path, Path | None]]:
    """Take UMIs into the read names, trim adaptors; each run into its own files."""
    given = extracted = trimmed = 0
    prepared = []
    for number, run in enumerate(runs):
        first, second = run
        if plan.umi:
            (first, second), found = _extract_umis(run, plan, counted, folder / f"umi{number}")
            given, extracted = given + found[0], extracted + found[1]
        cut = [folder / f"cut{number}_{mate}.fq" for mate in (1, 2)]
        report = folder / f"cut{number}.json"
        options: list[str | Path] = [
            "-j",
            str(plan.threads),
            "-m",
            str(plan.min_length),
            "--json",
            report,
            "-o",
            cut[0],
        ]
        options += ["-a", plan.adapter] if plan.adapter else []
        options += ["-A", plan.adapter_2] if second and plan.adapter_2 else []
        options += ["-p", cut[1]] if second else []
        counted.run(["cutadapt", *options, first, *([second] if second else [])])
        counts = json.loads(report.read_text())["read_counts"]
        given, trimmed = given + (0 if plan.umi else counts["input"]), trimmed + counts["output"]
        if plan.umi:
            for path in (first, second):
                if path is not None:
                    path.unlink()
        prepared.append((cut[0], cut[1] if second else None))
    counted.add("in the FASTQ", given)
    if plan.umi:
        counted.add("with a UMI", extracted, "no UMI")
    counted.add(f"at least {plan.min_length} bases after trimming", trimmed, "short after trimming")
    return prepared


def _extract_umis(
    run: tuple[Path, Path | None], plan: AlignmentPlan, counted: _Steps, stem: Path
) -> tuple[tuple[Path, Path | None], tuple[int, int]]:
    first, second = run
    outputs = [Path(f"{stem}_{mate}.fq") for mate in (1, 2)]
    note = Path(f"{stem}.log")
    command: list[str | Path] = [
        "umi_tools",
        "extract",
        "--bc-pattern",
        str(plan.umi),
        "-I",
        first,
        "-S",
        outputs[0],
        "-L",
        note,
    ]
    if second is not None:
        command += ["--read2-in", second, "--read2-out", outputs[1]]
        command += ["--bc-pattern2", plan.umi_2] if plan.umi_2 else []
    counted.run(command)
    numbers = [re.search(rf"{label}:\s*(\d+)", note.read_text()) for label in ("Input Reads", "Reads output")]
    given, kept = (int(found.group(1)) if found else 0 for found in numbers)
    return (outputs[0], outputs[1] if second else None), (given, kept)


def _without_unwanted(
    reads: Sequence[tuple[Path, Path | None]], plan: AlignmentPlan, counted: _Steps, folder: Path
) -> list[tuple[Path, Path | None]]:
    """Keep what does not align to the unwanted sequences."""
    assert plan.unwanted is not None
    index = _index(plan.unwanted, folder / "unwanted", plan, counted)
    paired = reads[0][1] is not None
    kept = folder / ("kept_%.fq" if paired else "kept.fq")
    counted.run([*_bowtie(plan, index, reads), "--un-conc" if paired else "--un", kept, "-S", "/dev/null"])
    for path in [path for run in reads for path in run if path is not None]:
        path.unlink()
    return [(folder / "kept_1.fq", folder / "kept_2.fq")] if paired else [(kept, None)]


def _mark_moved(
    aligned: Path, index: Path, plan: AlignmentPlan, counted: _Steps, folder: Path, paired: bool
) -> tuple[Path, dict[str, int] | None]:
    """Mark the reads that an allele swap moves; returns the reads and how many had each outcome."""
    from allelegro.procap.wasp import mark_moved, sites_of

    assert plan.donor is not None
    try:
        sites = sites_of(plan.vcfs, plan.donor, aligned)
    except DataError as error:
        if not plan.skip_unusable:
            raise
        log.warning("reads are not filtered for reference bias: %s", error)
        return aligned, None

    def realign(fastq: list[Path], out: Path) -> None:
        counted.run(
            ["samtools", "view", "-b", "-o", out, "-"],
            feed=_bowtie(plan, index, [(fastq[0], fastq[1] if paired else None)]),
        )

    marked, outcomes = mark_moved(aligned, sites, realign, counted.run, folder, paired=paired, min_mapq=plan.min_mapq)
    log.info(
        "reads whose alleles were swapped: %s", ", ".join(f"{number:,} {what}" for what, number in outcomes.items())
    )
    return marked, outcomes


def _index(genome: Path, stem: Path, plan: AlignmentPlan, counted: _Steps) -> Path:
    """The bowtie2 index at ``genome`` when it is a prefix, or a new one of a FASTA."""
    if any(Path(f"{genome}.1.{kind}").is_file() for kind in ("bt2", "bt2l")):
        return genome
    if not genome.is_file():
        raise DataError(f"{genome}: neither a FASTA nor the prefix of a bowtie2 index (PREFIX.1.bt2); check the path")
    counted.run(["bowtie2-build", "--quiet", "--threads", str(plan.threads), genome, stem])
    return stem


def _bowtie(plan: AlignmentPlan, index: Path, reads: Sequence[tuple[Path, Path | None]]) -> list[str | Path]:
    mode = "--very-sensitive-local" if plan.local else "--very-sensitive"
    command: list[str | Path] = ["bowtie2", mode, "-p", str(plan.threads), "-x", index]
    if reads[0][1] is None:
        return [*command, "-U", ",".join(str(first) for first, _ in reads)]
    mates = [",".join(str(run[mate]) for run in reads) for mate in (0, 1)]
    return [*command, "--no-mixed", "--no-discordant", "-1", mates[0], "-2", mates[1]]


def _bowtie_input(said: str) -> int:
    found = re.search(r"^(\d+) reads; of these:", said, re.MULTILINE)
    return int(found.group(1)) if found else 0


def _count(bam: Path, paired: bool) -> int:
    options = ["-F", "0x904", *(["-f", "0x40"] if paired else [])]
    return int(
        subprocess.run(["samtools", "view", "-c", *options, bam], capture_output=True, text=True, check=True).stdout
    )


def _deduplicate(aligned: Path, paired: bool, counted: _Steps, folder: Path) -> Path:
    distinct = folder / "distinct.bam"
    counted.run(["samtools", "index", aligned])
    counted.run(["umi_tools", "dedup", "-I", aligned, "-S", distinct, "-L", folder / "dedup.log", "--temp-dir", folder,
                *(["--paired"] if paired else [])])  # fmt: skip
    counted.add("distinct molecules (position and UMI)", _count(distinct, paired), "duplicate UMI")
    return distinct
