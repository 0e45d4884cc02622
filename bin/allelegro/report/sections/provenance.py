"""Methods with citations of what ran, parameters, versions, checksums, time and memory; and the glossary."""

import json

import pandas as pd

from allelegro.report import plots
from allelegro.report.report import Report, Section, Table
from allelegro.report.results import Results

CITATIONS = {
    "legnet": "LegNet: Penzar D. et al. Bioinformatics 39, btad457 (2023).",
    "lentimpra": "LegNet on lentiMPRA: Agarwal V. et al. Nature 639, 411–420 (2025).",
    "clipnet": "CLIPNET: He A. Y. and Danko C. G., 2024 (Danko-Lab/clipnet); architecture re-implemented in PyTorch.",
    "pints": "Peak calling after PINTS: Yao L. et al. Nature Biotechnology 40, 1056–1065 (2022), 10.1038/s41587-022-01211-7.",
    "msprime": "Simulated haplotypes: Baumdicker F. et al. Genetics 220, iyab229 (2022).",
    "nextflow": "Nextflow: Di Tommaso P. et al. Nature Biotechnology 35, 316–319 (2017).",
}

# Published data are cited only where a file of the run is known to be theirs, by this part of its path or name.
DATA = {
    "GSE110638": "PRO-cap of lymphoblastoid libraries: Kristjánsdóttir K. et al. Nature Communications 11 (2020), 10.1038/s41467-020-19829-z.",
    "kircher": "Saturation mutagenesis: Kircher M. et al. Nature Communications 10, 3583 (2019).",
    "tewhey": "Allelic MPRA in lymphoblastoid cells: Tewhey R. et al. Cell 165, 1519–1529 (2016).",
    "GSE75661": "Allelic MPRA in lymphoblastoid cells: Tewhey R. et al. Cell 165, 1519–1529 (2016).",
    "adastra": "ADASTRA: Abramov S. et al. Nature Communications 12, 2751 (2021).",
    "udacha": "UDACHA: Nature Communications (2025), 10.1038/s41467-024-55513-2.",
    "phase3_shapeit2": "Genotypes: 1000 Genomes Project Consortium, Nature 526, 68–74 (2015).",
}

CONTROLS = {
    "reference": "on the reference genome",
    "shuffled": "on genotypes shuffled between donors",
    "scratch": "without pretraining",
}

COSTS = {
    "tasks": "Tasks of this process that succeeded.",
    "seconds": "Wall seconds of all its tasks, one after another, as the tools measured themselves.",
    "longest_seconds": "Wall seconds of its longest task.",
    "cpu_seconds": "CPU seconds of all its tasks, user and system.",
    "memory_mib": "Largest resident memory of one process, MiB.",
    "gpu_memory_mib": "Largest allocation on a GPU, MiB; 0 when none was used.",
}


def methods(results: Results, report: Report) -> None:
    """A methods paragraph written from what ran, with the citations it calls for."""
    section = report.section("methods", "Methods")
    cited = ["nextflow"]
    if results.truth is not None:
        section.say(
            "The cohort was simulated with a known truth: haplotypes by coalescent simulation, activity from a motif "
            "grammar applied to each haplotype's sequence, reads with over-dispersion and clumpy background."
        )
        section.say(" ".join(results.truth.get("limits", [])))
        cited.append("msprime")
    if results.windows is not None:
        section.say(
            "5′ ends of PRO-cap reads were counted per strand without normalisation. Peaks of initiation were called "
            "library by library against a local background without other peaks, at a Benjamini–Hochberg false "
            "discovery rate; opposite strands were paired into divergent elements, merged across donors, and windows "
            "were centred on the consensus summit."
        )
        cited.append("pints")
    if results.haplotypes is not None:
        section.say(
            f"Both haplotypes of each donor were rebuilt in every window from phased genotypes "
            f"(indels: {results.haplotypes.get('indels', 'keep')}); each distinct sequence was stored, trained on and scored once."
        )
    if results.pretrained or results.finetuned:
        section.say(_training(results))
        cited += ["legnet", "lentimpra"] if results.pretrained else ["legnet"]
        cited += ["clipnet"] if any(model.config["architecture"] == "clipnet" for model in results.finetuned) else []
    section.say("Intervals are 95 % bootstrap percentile intervals; models are compared on the same rows and draws.")
    works = [*(CITATIONS[key] for key in dict.fromkeys(cited)), *_data_used(results)]
    section.show(Table("Please cite", pd.DataFrame({"work": works})))


def _data_used(results: Results) -> list[str]:
    """Published data among the inputs of the run; a simulated cohort has its own."""
    if results.truth is not None:
        return []
    inputs = json.dumps(results.document("inputs", "inputs.json") or {}).lower()
    return list(dict.fromkeys(work for mark, work in DATA.items() if mark.lower() in inputs))


def _training(results: Results) -> str:
    """What was trained, and on what its control models were."""
    said = ["LegNet was pretrained on lentiMPRA."] if results.pretrained else []
    if results.finetuned:
        said.append(
            "LegNet was trained on donors' own haplotypes with a diploid count likelihood (the mean of both haplotypes on the "
            "raw scale times library depth) and a term on differences between donors within a locus."
        )
        controls = [CONTROLS[role] for role in CONTROLS if role in results.roles]
        said += [f"Control models were trained {', '.join(controls)}."] if controls else []
        said.append("A test window was predicted only by checkpoints that held it out; test donors were seen by none.")
    return " ".join(said)


def provenance(results: Results, report: Report) -> None:
    """What exactly ran: parameters, versions, input checksums, time and memory."""
    section = report.section("provenance", "Provenance")
    parameters = results.document("pipeline_info", "params.json")
    if parameters:
        rows = pd.DataFrame([(key, str(value)) for key, value in sorted(parameters.items()) if value is not None])
        section.show(Table("Parameters", rows.set_axis(["parameter", "value"], axis=1)))
    else:
        section.say("Parameters were not recorded with these results (pipeline_info/params.json is missing).")
    versions = _versions(results)
    if versions is not None:
        section.show(Table("Software that the tasks loaded or ran", versions))
    checksums = results.document("inputs", "inputs.json") or {}
    if checksums.get("checksums"):
        rows = pd.DataFrame(sorted(checksums["checksums"].items()), columns=["input", "sha256"])
        section.show(Table("Inputs", rows))
    _costs(results, section)
    section.say(
        "Nextflow's own resource report, timeline and task graph are in pipeline_info/ of the results folder; "
        "they are complete once the run has ended."
    )


def _versions(results: Results) -> pd.DataFrame | None:
    path = results.path("pipeline_info", "versions.yml")
    if not path.is_file():
        return None
    rows, process = [], ""
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.strip().partition(":")
        if line and not line.startswith(" "):
            process = key.strip('"')
        elif key:
            rows.append((process.split(":")[-1], key, value.strip().strip("'\"")))
    frame = pd.DataFrame(rows, columns=["process", "software", "version"])
    steps = frame.groupby(["software", "version"])["process"].agg(lambda names: ", ".join(sorted(set(names))))
    return steps.rename("used by").reset_index()


def _costs(results: Results, section: Section) -> None:
    """Tasks, wall time, CPU time and memory by process, as the tools measured themselves."""
    costs = results.table("pipeline_info", "costs.tsv")
    if costs is None or costs.empty:
        section.say("What the tasks took was not recorded with these results (pipeline_info/costs.tsv is missing).")
        return
    total = costs["seconds"].sum()
    section.say(
        f"{costs['tasks'].sum():,} tasks took {_duration(total)} of wall time one after another, {_duration(costs['cpu_seconds'].sum())} of "
        f"CPU time, and at most {costs['memory_mib'].max():,.0f} MiB each. A task taken from the cache counts as it was when it ran."
    )
    costs = costs.sort_values("seconds", ascending=False, ignore_index=True)
    section.show(
        plots.stacked_bars(
            "time-by-process",
            "Time by process",
            "Wall time of all tasks of a process, one after another, without waiting in a queue.",
            costs.set_index("process")[["seconds"]].rename(columns={"seconds": "minutes"}) / 60,
            "minutes",
        )
    )
    section.show(Table("Time and memory by process", costs, COSTS))


def _duration(seconds: float) -> str:
    """Hours and minutes, or minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600} h {whole % 3600 // 60} min" if whole >= 3600 else f"{whole // 60} min {whole % 60} s"


def glossary(results: Results, report: Report) -> None:
    """The definitions; the template prints them under this heading."""
    report.section("glossary", "Glossary").say(
        "Effects are log2 of alternative over reference: a positive value means that the alternative allele increases "
        "activity. Coordinates in tables are 1-based."
    )
