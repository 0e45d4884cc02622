"""The manifest of public datasets: where each comes from, under which licence, and how to verify it."""

import json
from dataclasses import dataclass
from pathlib import Path

from allelegro.errors import DataError
from allelegro.io.download import RemoteFile


@dataclass(frozen=True)
class Dataset:
    """One dataset of the manifest; ``unavailable`` says what has no confirmed location."""

    name: str
    title: str
    accession: str
    licence: str
    citation: str
    required: bool
    files: tuple[RemoteFile, ...]
    unavailable: tuple[str, ...]


def read_manifest(path: Path) -> dict[str, Dataset]:
    """Datasets by name; raises DataError when the manifest is damaged or a file is named twice or leads outside."""
    if not path.is_file():
        raise DataError(f"{path}: no such manifest; give --manifest")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        datasets = {name: _dataset(name, entry) for name, entry in document["datasets"].items()}
    except json.JSONDecodeError as error:
        raise DataError(f"{path} line {error.lineno}: not valid JSON ({error.msg})") from None
    except KeyError as error:
        raise DataError(f"{path}: key {error} is missing; see docs/usage.md for the manifest's keys") from None
    paths = [file.path for dataset in datasets.values() for file in dataset.files]
    for target in paths:
        if Path(target).is_absolute() or ".." in Path(target).parts:
            raise DataError(f"{path}: {target} leads outside the data folder; use a relative path")
        if paths.count(target) > 1:
            raise DataError(f"{path}: {target} is named twice")
    return datasets


def _dataset(name: str, entry: dict) -> Dataset:  # type: ignore[type-arg]
    """Files without a URL are not fetched; what is known of them is passed on as a note."""
    files = [
        RemoteFile(f["path"], f["url"], f.get("bytes"), f.get("sha256"), f.get("md5"))
        for f in entry["files"]
        if f["url"]
    ]
    notes = [f"{f['path']}: {f['note']}" for f in entry["files"] if not f["url"]]
    return Dataset(
        name,
        entry["title"],
        entry["accession"],
        entry["licence"],
        entry["citation"],
        bool(entry.get("required", False)),
        tuple(files),
        tuple(notes),
    )
