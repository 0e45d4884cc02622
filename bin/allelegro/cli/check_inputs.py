"""Command line of check_inputs.py."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from allelegro.cli.common import DATA_ERROR, SkipBadLibraries, Tool, Version

app = Tool()


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="The sheets as one JSON, runs of a library merged.")],
    libraries: Annotated[Path | None, typer.Option(help="Sheet of libraries: library donor and their files.")] = None,
    mpra: Annotated[Path | None, typer.Option(help="Sheet of lentiMPRA tables: name table.")] = None,
    variant_sets: Annotated[Path | None, typer.Option(help="Sheet of measured effects: name kind table.")] = None,
    comparators: Annotated[Path | None, typer.Option(help="Sheet of outside models' scores: set name table.")] = None,
    genome: Annotated[Path | None, typer.Option(help="Reference genome, FASTA.")] = None,
    variants: Annotated[
        list[Path] | None, typer.Option(help="Phased genotypes, indexed VCF or BCF; repeat for one a chromosome.")
    ] = None,
    peaks: Annotated[
        Path | None, typer.Option(help="Sheet of user-provided peaks: library donor peaks elements.")
    ] = None,
    covariates: Annotated[
        Path | None, typer.Option(help="Sheet of donors' covariates: donor and batch, sex, numbers.")
    ] = None,
    score: Annotated[
        list[str] | None, typer.Option(help="Name of a file of variants to score, whose results need a name; repeat.")
    ] = None,
    rows_only: Annotated[
        bool, typer.Option("--rows-only", help="Check the sheets' rows, not the files they name.")
    ] = False,
    unphased: Annotated[
        Literal["error", "reference", "random"],
        typer.Option(help="error: unphased heterozygotes among the first genotypes are a problem."),
    ] = "error",
    skip_bad_libraries: SkipBadLibraries = False,
    version: Version = False,
) -> None:
    """Check sheets, references and the files they name together; list every problem, or write them as JSON.

    Each problem is one line: file, row, value, what to do. Paths in the JSON stay as written in the sheets.
    """
    from allelegro.inputs.check import check_inputs, write_inputs

    found = check_inputs(
        libraries=libraries,
        mpra=mpra,
        variant_sets=variant_sets,
        comparators=comparators,
        genome=genome,
        variants=variants or [],
        peaks=peaks,
        covariates=covariates,
        scored=score or [],
        rows_only=rows_only,
        skip_bad_libraries=skip_bad_libraries,
        unphased_allowed=unphased != "error",
    )
    if found.problems:
        for problem in found.problems:
            print(f"error: {problem}", file=sys.stderr)
        raise SystemExit(DATA_ERROR)
    write_inputs(found, out)
