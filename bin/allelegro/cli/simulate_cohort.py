"""``simulate_cohort.py``: a cohort with a known truth."""

from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Seed, Threads, Tool, Version
from allelegro.resources import limit_threads
from allelegro.simulate.settings import PRESETS, Settings, settings_of

app = Tool()


class Preset(StrEnum):
    """Named sets of sizes."""

    tiny = "tiny"
    demo = "demo"
    study = "study"


def _size(name: str, text: str) -> typer.models.OptionInfo:
    """An option whose default is the preset's; help names the value of each."""
    values = ", ".join(f"{preset} {PRESETS[preset].get(name, getattr(Settings, name))}" for preset in PRESETS)
    option: typer.models.OptionInfo = typer.Option(help=f"{text} ({values}).")
    return option


@app.command()
def main(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder to make; it appears when it is complete.", file_okay=False)],
    seed: Seed = Settings.seed,
    preset: Annotated[Preset, typer.Option(help="Sizes to start from; the size options override them.")] = Preset.demo,
    individuals: Annotated[int | None, _size("individuals", "Donors")] = None,
    second_libraries: Annotated[int | None, _size("second_libraries", "Donors with a second library")] = None,
    loci: Annotated[int | None, _size("loci", "Transcribed elements")] = None,
    chromosomes: Annotated[int | None, _size("chromosomes", "Chromosomes")] = None,
    spacing: Annotated[int | None, _size("spacing", "Mean distance between loci in bp")] = None,
    mpra_elements: Annotated[
        int | None, _size("mpra_elements", "lentiMPRA tiles, each in both orientations; more where --loci need them")
    ] = None,
    mpra_cells: Annotated[int | None, _size("mpra_cells", "lentiMPRA cell types, one table each")] = None,
    reads_per_library: Annotated[
        int | None, _size("reads_per_library", "Expected PRO-cap molecules of a library, background included")
    ] = None,
    satmut_elements: Annotated[int | None, _size("satmut_elements", "Elements under saturation mutagenesis")] = None,
    mutation_rate: Annotated[float | None, _size("mutation_rate", "Mutations per bp and generation")] = None,
    width: Annotated[
        int, typer.Option(help="Window around an element in which sequence can act, in bp.")
    ] = Settings.width,
    population_size: Annotated[
        float, typer.Option(help="Effective population size; sets diversity and linkage.")
    ] = Settings.population_size,
    recombination_rate: Annotated[
        float, typer.Option(help="Crossovers per bp and generation.")
    ] = Settings.recombination_rate,
    indel_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of variants that are indels.")
    ] = Settings.indel_share,
    activators: Annotated[int, typer.Option(help="Activating factors.")] = Settings.activators,
    repressors: Annotated[int, typer.Option(min=0, help="Repressing factors.")] = Settings.repressors,
    degeneracy: Annotated[
        float, typer.Option(min=0, max=0.7, help="How soft motifs are: 0 nearly fixed words, 0.7 vague.")
    ] = Settings.degeneracy,
    interaction_order: Annotated[
        int, typer.Option(help="1 additive factors, 2 with spaced pairs, 3 also with a triple.")
    ] = Settings.interaction_order,
    interaction: Annotated[
        float, typer.Option(min=0, help="Strength of interactions relative to single factors.")
    ] = Settings.interaction,
    distal: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of activators that act over hundreds of bp, beyond a 230-bp window."),
    ] = Settings.distal,
    initiator_effect: Annotated[
        float, typer.Option(min=0, help="Exponent of initiator strength in the initiation rate.")
    ] = Settings.initiator_effect,
    activity_sd: Annotated[
        float, typer.Option(min=0.1, help="Standard deviation of log2 activity between elements.")
    ] = Settings.activity_sd,
    cell_sharing: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of factor weights that lentiMPRA cells have in common with the LCL."),
    ] = Settings.cell_sharing,
    dispersion: Annotated[
        float, typer.Option(min=0, help="Over-dispersion of PRO-cap counts: variance = mean + dispersion x mean^2.")
    ] = Settings.dispersion,
    context_sd: Annotated[
        float, typer.Option(min=0, help="Standard deviation of log2 locus effects that no sequence explains.")
    ] = Settings.context_sd,
    tss_spread: Annotated[
        float, typer.Option(min=0, help="Laplace scale of 5' ends around an initiation site, in bp.")
    ] = Settings.tss_spread,
    mpra_noise: Annotated[
        float, typer.Option(min=0, help="Noise of lentiMPRA log2 activity (sd).")
    ] = Settings.mpra_noise,
    background: Annotated[
        float, typer.Option(min=0, max=0.95, help="Share of background molecules.")
    ] = Settings.background,
    clumpy: Annotated[
        bool, typer.Option(help="Background also in towers, rRNA-like stacks and gene bodies, not only uniform.")
    ] = Settings.clumpy,
    duplicates: Annotated[
        float, typer.Option(min=0, max=1, help="Share of molecules with PCR duplicates.")
    ] = Settings.duplicates,
    low_mapq: Annotated[
        float, typer.Option(min=0, max=1, help="Share of molecules with mapping quality below 10.")
    ] = Settings.low_mapq,
    capped_g: Annotated[
        float, typer.Option(min=0, max=1, help="Share of reads that start with a non-templated G, soft-clipped.")
    ] = Settings.capped_g,
    error_rate: Annotated[
        float, typer.Option(min=0, max=0.5, help="Sequencing errors per base.")
    ] = Settings.error_rate,
    swap_donors: Annotated[
        bool, typer.Option("--swap-donors", help="Swap the libraries of two donors; truth.json says which.")
    ] = Settings.swap_donors,
    bam: Annotated[bool, typer.Option(help="Write reads as BAM besides the bigWigs.")] = True,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Simulate donors, PRO-cap libraries, MPRA and allele tables from one motif grammar, with the truth of every effect.

    Writes genome.fa, variants.vcf.gz (phased), libraries.tsv (BAM), signals.tsv (bigWig), mpra.tsv with lentimpra.CELL.tsv,
    variant_sets.tsv with truth/*.tsv, elements.bed and truth.json. The same seed and options give the same cohort.
    """
    limit_threads(threads)
    from allelegro.simulate.cohort import simulate_cohort

    chosen = {field.name: context.params[field.name] for field in fields(Settings)}
    given = {name: value for name, value in chosen.items() if value is not None}
    simulate_cohort(out, settings_of(preset.value, given), write_bam=bam, threads=threads)
