"""``simulate_cohort.py``: a cohort with a known truth."""

import inspect
from dataclasses import Field, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from allelegro.cli.common import Seed, Threads, Tool, Version
from allelegro.resources import limit_threads
from allelegro.simulate.settings import PRESETS, Settings, settings_of

app = Tool()


class Preset(StrEnum):
    """Named sets of dials."""

    tiny = "tiny"
    demo = "demo"
    study = "study"
    flattering = "flattering"
    hard = "hard"


def main(
    out: Annotated[Path, typer.Option(help="Folder to make; it appears when it is complete.", file_okay=False)],
    preset: Annotated[Preset, typer.Option(help="Values to start from; other options override them.")] = Preset.demo,
    seed: Seed = Settings.seed,
    bam: Annotated[bool, typer.Option(help="Write reads as BAM as well as the bigWigs.")] = True,
    threads: Threads = 1,
    version: Version = False,
    **dials: int | float | bool | None,
) -> None:
    """Simulate donors, PRO-cap libraries, MPRA and allele tables from one motif grammar, with the truth of every effect.

    Writes genome.fa, variants.vcf.gz (phased), libraries.tsv (BAM), signals.tsv (bigWig), mpra.tsv with lentimpra.CELL.tsv,
    variant_sets.tsv with truth/*.tsv, elements.bed and truth.json. The same seed and options give the same cohort.
    """
    limit_threads(threads)
    from allelegro.simulate.cohort import simulate_cohort

    given = {name: value for name, value in dials.items() if value is not None}
    simulate_cohort(out, settings_of(preset.value, {"seed": seed, **given}), write_bam=bam, threads=threads)


def _option(dial: Field[Any]) -> inspect.Parameter:
    """The option of one field of Settings; it defaults to the preset's value, which the help names."""
    values = {preset: chosen.get(dial.name, dial.default) for preset, chosen in PRESETS.items()}
    same = len(set(values.values())) == 1
    stated = f"default {dial.default}" if same else ", ".join(f"{preset} {value}" for preset, value in values.items())
    limits = {} if dial.type is bool else {"min": dial.metadata["low"], "max": dial.metadata["high"]}
    option = typer.Option(help=f"{dial.metadata['help']} ({stated}).", show_default=False, **limits)
    kind: Any = dial.type
    return inspect.Parameter(
        dial.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _with_dials() -> inspect.Signature:
    """The signature of :func:`main` with an option for every field of Settings in place of ``dials``."""
    signature = inspect.signature(main)
    own = [parameter for name, parameter in signature.parameters.items() if name != "dials"]
    dials = [_option(dial) for dial in fields(Settings) if dial.name not in signature.parameters]
    return signature.replace(parameters=[*own, *dials])


main.__signature__ = _with_dials()  # type: ignore[attr-defined]  # typer reads the options from it
app.command()(main)
