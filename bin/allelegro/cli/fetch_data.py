"""fetch_data.py: the public datasets of the study."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Tool, Version, fail
from allelegro.progress import progress

MANIFEST = Path(__file__).resolve().parents[1] / "inputs" / "datasets.json"
PROCAP_ARCHIVE = Path("procap") / "GSE110638_RAW.tar"

app = Tool()


@app.command()
def main(
    out: Annotated[Path | None, typer.Option(help="Folder for the data; needed unless --list.")] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(help="Dataset to fetch; repeat it. Default: all required ones.")
    ] = None,
    manifest: Annotated[Path, typer.Option(help="Manifest of datasets (JSON).")] = MANIFEST,
    mirror: Annotated[Path | None, typer.Option(help="Local folder with the same relative paths, used first.")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=16, help="Downloads at a time.")] = 4,
    attempts: Annotated[int, typer.Option(min=1, help="Attempts a file before giving up.")] = 6,
    stall: Annotated[
        float, typer.Option(min=0.1, help="Seconds without a byte before a connection is dropped.")
    ] = 60.0,
    unpack: Annotated[
        bool, typer.Option(help="Unpack what was fetched and write the sheets and parameters of a run.")
    ] = True,
    list_only: Annotated[bool, typer.Option("--list", help="List the datasets and stop.")] = False,
    version: Version = False,
) -> None:
    """Fetch datasets of the manifest into --out: resumed, retried; never half a file under its name.

    Checksums that the manifest does not know are recorded in OUT/checksums.json at the first download, and compared
    from then on.
    """
    from allelegro.errors import DataError
    from allelegro.inputs.datasets import read_manifest, unpack_procap, write_study
    from allelegro.inputs.download import Policy, fetch_all

    datasets = read_manifest(manifest)
    if list_only:
        for name, entry in datasets.items():
            typer.echo(
                f"{name}\t{'required' if entry.required else 'optional'}\t{len(entry.files)} files\t{entry.title}"
            )
        return
    if out is None:
        raise typer.BadParameter("give a folder", param_hint="--out")
    wanted = dataset or [name for name, entry in datasets.items() if entry.required]
    unknown = [name for name in wanted if name not in datasets]
    if unknown:
        raise DataError(f"{manifest}: no dataset {', '.join(unknown)}; it has {', '.join(datasets)}")
    fetched = [file for name in wanted for file in datasets[name].files]
    total = sum(file.bytes or 0 for file in fetched)
    with progress("fetching", total) as bar:
        problems = fetch_all(
            fetched, out, mirror=mirror, jobs=jobs, policy=Policy(attempts, stall), advance=lambda n: bar(n, "")
        )
    for problem in problems[:-1]:
        typer.echo(f"error: {problem}", err=True)
    if problems:
        fail(problems[-1])
    typer.echo(f"{len(fetched)} files in {out}", err=True)
    if not unpack:
        return
    if (out / PROCAP_ARCHIVE).is_file():
        unpack_procap(out / PROCAP_ARCHIVE, MANIFEST.with_name("gse110638_libraries.tsv"))
    _count_elements(out)
    for study in write_study(out, datasets):
        typer.echo(f"next: nextflow run main.nf -profile full -params-file {study}", err=True)


def _count_elements(data: Path) -> None:
    """Make the counts store of read counts by element, where they were fetched, with the genome they are on."""
    from allelegro.inputs.datasets import ELEMENT_COUNTS, plain_genome
    from allelegro.inputs.references import fasta_contigs
    from allelegro.io.tables import NAME, read_table
    from allelegro.procap.element_counts import counts_from_tables

    folder, genome = (data / ELEMENT_COUNTS).parent, data / "genome" / "hs37d5.fa.gz"
    table = folder / "Table.3a.procap.readcount.ambr.txt"
    if not table.is_file():
        return
    if not genome.is_file():
        typer.echo(f"{table} is on hg19: with --dataset genome_hg19 it becomes a counts store", err=True)
        return
    genotyped = read_table(MANIFEST.with_name("gse110638_libraries.tsv"), {"donor": NAME})["donor"]
    counts_from_tables(
        table, folder / "procap.ambr.list.txt", folder / "caplist.csv", data / ELEMENT_COUNTS,
        lengths=fasta_contigs(plain_genome(genome)), donors=set(genotyped),
    )  # fmt: skip
