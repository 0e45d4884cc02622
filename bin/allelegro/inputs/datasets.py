"""The manifest of public datasets, and the study's sheets made from what was fetched."""

import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from allelegro.errors import DataError
from allelegro.inputs.download import RemoteFile
from allelegro.io.atomic import atomic_path
from allelegro.io.compression import open_binary
from allelegro.io.tables import NAME, read_table, write_table

STRANDS = {"plus": "pl", "minus": "mn"}
ELEMENT_COUNTS = Path("procap_donors") / "counts"
SHEETS = {"mpra": ["name", "table"], "variant_sets": ["name", "kind", "table", "genome", "release"]}


@dataclass(frozen=True)
class Dataset:
    """One dataset of the manifest."""

    name: str
    title: str
    required: bool
    files: tuple[RemoteFile, ...]
    rows: dict[str, list[dict[str, str]]]  # by sheet of SHEETS, paths relative to the data folder


def read_manifest(path: Path) -> dict[str, Dataset]:
    """Datasets by name; raises DataError when the manifest is damaged or a file is named twice or leads outside."""
    if not path.is_file():
        raise DataError(f"{path}: no such manifest; give --manifest")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        datasets = {
            name: Dataset(
                name,
                entry["title"],
                bool(entry.get("required", False)),
                tuple(
                    RemoteFile(f["path"], f["url"], f.get("bytes"), f.get("sha256"), f.get("md5"), f.get("note", ""))
                    for f in entry["files"]
                ),
                {sheet: entry.get(sheet, []) for sheet in SHEETS},
            )
            for name, entry in document["datasets"].items()
        }
    except json.JSONDecodeError as error:
        raise DataError(f"{path} line {error.lineno}: not valid JSON ({error.msg})") from None
    except KeyError as error:
        raise DataError(f"{path}: key {error} is missing; compare with bin/allelegro/inputs/datasets.json") from None
    paths = [file.path for dataset in datasets.values() for file in dataset.files]
    for target in paths:
        if Path(target).is_absolute() or ".." in Path(target).parts:
            raise DataError(f"{path}: {target} leads outside the data folder; use a relative path")
        if paths.count(target) > 1:
            raise DataError(f"{path}: {target} is named twice")
    return datasets


def unpack_procap(archive: Path, table: Path) -> Path:
    """Unpack the libraries of ``table`` (``library gsm donor prefix``) from GEO's archive and write their sheet.

    The 5′-end bedGraphs of each library (``PREFIX.hs37d5.bwa.uniqueUMI.{pl,mn}.bedgraph.gz``) go alongside the archive,
    with ``libraries.tsv`` (``library donor plus minus``), whose path is returned. Raises DataError when the archive is
    damaged or lacks a library.
    """
    libraries = read_table(table, dict.fromkeys(["library", "gsm", "donor", "prefix"], NAME))
    folder = archive.parent
    for strand, short in STRANDS.items():
        libraries[strand] = libraries["prefix"] + f".hs37d5.bwa.uniqueUMI.{short}.bedgraph.gz"
    wanted = set(libraries["plus"]) | set(libraries["minus"])
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                handle = tar.extractfile(member) if name in wanted else None
                if handle is not None:
                    with atomic_path(folder / name, at_once=True) as partial:
                        partial.write_bytes(handle.read())
                    wanted.discard(name)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{archive}: not a readable archive ({error}); delete it and fetch again") from None
    if wanted:
        raise DataError(f"{archive}: lacks {len(wanted)} files of {table.name}, first {min(wanted)}; check the table")
    write_table(pd.DataFrame(libraries[["library", "donor", "plus", "minus"]]), folder / "libraries.tsv")
    return folder / "libraries.tsv"


def plain_genome(archive: Path) -> Path:
    """``X.fa`` with its ``.fai`` from a gzipped ``X.fa.gz``, which allows no random access; made once."""
    import pysam

    fasta = archive.with_suffix("")
    if not fasta.is_file() or fasta.stat().st_mtime < archive.stat().st_mtime:
        with open_binary(archive) as source, atomic_path(fasta, at_once=True) as partial, partial.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 24)
        Path(f"{fasta}.fai").unlink(missing_ok=True)
    if not Path(f"{fasta}.fai").is_file():
        pysam.faidx(str(fasta))
    return fasta


def write_study(data: Path, datasets: dict[str, Dataset]) -> list[Path]:
    """Sheets of what was fetched into ``data``, and the files of parameters of runs on it: ``data/study.json``.

    Sheets name only the tables that are there, parameters only the inputs that are. Where ``data/procap_donors/counts``
    is, a counts store of elements, there is also ``data/study_donors.json``, which starts from it instead of raw signal,
    without CLIPNET, which needs profiles.
    """
    given: dict[str, Any] = {}
    if (data / "procap" / "libraries.tsv").is_file():
        given["libraries"] = data / "procap" / "libraries.tsv"
    for archive in sorted((data / "genome").glob("*.fa.gz")):
        fasta = plain_genome(archive)
        if archive.name.startswith("hs37d5"):
            given["genome"] = fasta
    if any((data / "genotypes").glob("*.vcf.gz")):
        given["variants"] = data / "genotypes" / "*.vcf.gz"
    for sheet, columns in SHEETS.items():
        rows = [row for dataset in datasets.values() for row in dataset.rows[sheet]]
        present = [row for row in rows if all((data / row[key]).is_file() for key in ("table", "genome") if key in row)]
        if present:
            write_table(
                pd.DataFrame([{column: row.get(column, "") for column in columns} for row in present]),
                data / f"{sheet}.tsv",
            )
            given[sheet] = data / f"{sheet}.tsv"
    parameters = {name: str(path.absolute()) for name, path in given.items()}
    runs = {data / "study.json": parameters}
    if (data / ELEMENT_COUNTS / "metadata.json").is_file():
        counts = {"counts": str((data / ELEMENT_COUNTS).absolute()), "models": "legnet,reference,shuffled,scratch"}
        others = {name: value for name, value in parameters.items() if name != "libraries"}
        runs[data / "study_donors.json"] = others | counts
    for path, values in runs.items():
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    return list(runs)
