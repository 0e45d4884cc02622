"""A report without the names of people: donors and libraries get numbers in an order that nobody can work out."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from allelegro.io.tables import TEXT, read_table

_SHORTEST = 3  # letters of a name that is looked for inside text; shorter ones are replaced as whole cells alone


class Pseudonyms:
    """Names of donors and libraries and what is said instead: ``donor 1``, ``library 1``, …

    Numbers follow a digest of each name with the checksums of the run's own data, so that the same run gives the same
    numbers and a list of possible donors does not tell which is which.
    """

    def __init__(self, donors: Iterable[str], libraries: Iterable[str], secret: str) -> None:
        self.said: dict[str, str] = {}
        for kind, names in (("library", libraries), ("donor", donors)):  # a donor's library may have the donor's name
            ordered = sorted(set(names) - {""}, key=lambda name: hashlib.sha256(f"{secret}{name}".encode()).digest())
            digits = len(str(len(ordered)))
            self.said |= {name: f"{kind} {number:0{digits}}" for number, name in enumerate(ordered, 1)}
        long = sorted((name for name in self.said if len(name) >= _SHORTEST), key=len, reverse=True)
        words = "|".join(map(re.escape, long))
        self._inside = re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])") if long else None

    def text(self, value: str) -> str:
        """A text without names."""
        if value in self.said:
            return self.said[value]
        return self._inside.sub(lambda found: self.said[found[0]], value) if self._inside else value

    def document(self, value: Any) -> Any:
        """A JSON document without names, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.document(item) for key, item in value.items()}
        return [self.document(item) for item in value] if isinstance(value, list) else value

    def table(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table without names in cells and headers; its rows no longer in the order of the cohort's files."""
        names = [column for column in ("library", "donor") if column in table]
        hidden = pd.DataFrame(
            {
                self.text(str(name)): values if pd.api.types.is_numeric_dtype(values) else values.map(self._cell)
                for name, values in table.items()
            }
        )
        if names and len(hidden):
            hidden = hidden.sort_values(names, kind="stable", ignore_index=True)
        moved = [str(column) for column in hidden if column in self.said.values()]
        order = iter(sorted(moved))
        return hidden[[next(order) if column in moved else column for column in hidden]] if moved else hidden

    def _cell(self, value: Any) -> Any:
        return self.text(value) if isinstance(value, str) else value


def pseudonyms_of(folder: Path) -> Pseudonyms:
    """The names in a results folder: of its stores, quality control and checked sheets."""
    donors, libraries, secret = set[str](), set[str](), []
    for store in (folder / "genotype" / "haplotypes", folder / "procap" / "counts"):
        if (store / "metadata.json").is_file():
            document = json.loads((store / "metadata.json").read_text(encoding="utf-8"))
            secret.append(json.dumps(document.get("checksums", {}), sort_keys=True))
            donors |= set(map(str, document.get("donors", [])))
            libraries |= set(document.get("excluded", {}))
    tables = [folder / "procap" / "counts" / "libraries.tsv", *sorted((folder / "procap").glob("**/*.excluded.tsv"))]
    tables += [folder / "procap" / "qc" / name for name in ("libraries.tsv", "donors.tsv", "excluded.tsv")]
    tables += [folder / "genotype" / "qc" / "donors.tsv", *sorted((folder / "inputs").glob("*.excluded.tsv"))]
    for path in tables:
        if path.is_file():
            table = read_table(path, others=TEXT, allow_empty=True)
            for column in ("donor", "best_donor"):
                donors |= set(table.get(column, ()))
            libraries |= set(table.get("library", ()))
    for path in (folder / "procap" / "coverage").glob("*.qc.json"):
        libraries.add(path.name.removesuffix(".qc.json"))
    checked = folder / "inputs" / "inputs.json"
    if checked.is_file():
        for row in json.loads(checked.read_text(encoding="utf-8")).get("libraries", []):
            donors.add(str(row["donor"]))
            libraries.add(str(row["library"]))
    return Pseudonyms(donors, libraries, "".join(secret))
