"""The manifest of public datasets, and the study's sheets made from what was fetched."""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from allelegro.errors import DataError
from allelegro.io.atomic import atomic_path
from allelegro.io.download import RemoteFile
from allelegro.io.tables import read_table, write_table

STRANDS = {"plus": "pl", "minus": "mn"}


@dataclass(frozen=True)
class Dataset:
    """One dataset of the manifest."""

    name: str
    title: str
    required: bool
    files: tuple[RemoteFile, ...]


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
            )
            for name, entry in document["datasets"].items()
        }
    except json.JSONDecodeError as error:
        raise DataError(f"{path} line {error.lineno}: not valid JSON ({error.msg})") from None
    except KeyError as error:
        raise DataError(f"{path}: key {error} is missing; compare with assets/datasets.json") from None
    paths = [file.path for dataset in datasets.values() for file in dataset.files]
    for target in paths:
        if Path(target).is_absolute() or ".." in Path(target).parts:
            raise DataError(f"{path}: {target} leads outside the data folder; use a relative path")
        if paths.count(target) > 1:
            raise DataError(f"{path}: {target} is named twice")
    return datasets


def unpack_procap(archive: Path, table: Path) -> Path:
    """Unpack the libraries of ``table`` (``library gsm donor prefix``) from GEO's archive and write their sheet.

    The 5′-end bedGraphs of each library (``PREFIX.hs37d5.bwa.uniqueUMI.{pl,mn}.bedgraph.gz``) go beside the archive,
    with ``libraries.tsv`` (``library donor plus minus``), whose path is returned. Raises DataError when the archive is
    damaged or lacks a library.
    """
    libraries = read_table(table, ["library", "gsm", "donor", "prefix"])
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
                    with atomic_path(folder / name) as partial:
                        partial.write_bytes(handle.read())
                    wanted.discard(name)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{archive}: not a readable archive ({error}); delete it and fetch again") from None
    if wanted:
        raise DataError(f"{archive}: lacks {len(wanted)} files of {table.name}, first {min(wanted)}; check the table")
    write_table(pd.DataFrame(libraries[["library", "donor", "plus", "minus"]]), folder / "libraries.tsv")
    return folder / "libraries.tsv"
