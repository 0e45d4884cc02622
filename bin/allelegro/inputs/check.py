"""All inputs of a run, checked against each other."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from allelegro.errors import DataError
from allelegro.inputs.excluded import write_excluded
from allelegro.inputs.references import (
    check_fastq,
    compare_contigs,
    fasta_contigs,
    missing_donors,
    signal_contigs,
    variant_header,
)
from allelegro.inputs.sheets import (
    FILE_COLUMNS,
    Sheet,
    check_files,
    merge_runs,
    read_comparators,
    read_libraries,
    read_mpra,
    read_variant_sets,
)
from allelegro.io.atomic import atomic_path
from allelegro.io.checksums import sha256


@dataclass
class Inputs:
    """The sheets' rows, SHA-256 of sheets, references and tables (not of reads), and every problem found.

    ``excluded`` holds the reason for each library that is not among ``libraries`` because it cannot be used.
    """

    libraries: list[dict[str, Any]] = field(default_factory=list)
    mpra: list[dict[str, str]] = field(default_factory=list)
    variant_sets: list[dict[str, str]] = field(default_factory=list)
    comparators: list[dict[str, str]] = field(default_factory=list)
    checksums: dict[str, str] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def check_inputs(
    *,
    libraries: Path | None,
    mpra: Path | None,
    variant_sets: Path | None,
    comparators: Path | None,
    genome: Path | None,
    variants: Sequence[Path],
    rows_only: bool = False,
    skip_bad_libraries: bool = False,
) -> Inputs:
    """Read everything given; a problem of one file does not hide those of the others.

    With ``skip_bad_libraries`` a library whose files or donor cannot be used is excluded; that none is left is a problem.
    """
    found = Inputs()
    readers: dict[str, tuple[Path | None, Callable[[Path], Sheet], tuple[str, ...]]] = {
        "libraries": (libraries, read_libraries, FILE_COLUMNS),
        "mpra": (mpra, read_mpra, ("table",)),
        "variant_sets": (variant_sets, read_variant_sets, ("table", "genome")),
        "comparators": (comparators, read_comparators, ("table",)),
    }
    sheets: dict[str, Sheet] = {}
    for name, (path, reader, file_columns) in readers.items():
        if path is None:
            continue
        try:
            sheet = sheets[name] = reader(path)
        except DataError as error:
            found.problems.append(str(error))
            continue
        if not rows_only:
            check_files(sheet, file_columns)
    if not rows_only:
        found.problems += reference_problems(sheets.get("libraries"), genome, variants)
    for name, sheet in sheets.items():
        leave_out = skip_bad_libraries and name == "libraries"
        found.problems += sheet.problems + ([] if leave_out else [problem for _, problem in sorted(sheet.faults)])
    if "libraries" in sheets:
        found.libraries = merge_runs(sheets["libraries"].rows)
        if skip_bad_libraries:
            _leave_out_libraries(found, sheets["libraries"])
    found.mpra = sheets["mpra"].rows if "mpra" in sheets else []
    found.variant_sets = sheets["variant_sets"].rows if "variant_sets" in sheets else []
    found.comparators = sheets["comparators"].rows if "comparators" in sheets else []
    known = {row["name"] for row in found.variant_sets}
    for number, row in enumerate(found.comparators, 1):
        if row["set"] not in known:
            found.problems.append(f"{comparators} row {number}: set '{row['set']}' is not in the sheet of variant sets")
    if not found.problems and not rows_only:
        named = ("mpra", "variant_sets", "comparators")
        tables = [sheets[name].located(row["table"]) for name in named if name in sheets for row in sheets[name].rows]
        given = [libraries, mpra, variant_sets, comparators, genome, *variants, *tables]
        found.checksums = {path.name: sha256(path) for path in given if path and path.is_file()}
    return found


def _leave_out_libraries(found: Inputs, sheet: Sheet) -> None:
    """Take the libraries with faults from ``found.libraries``, noting the first fault of each."""
    for number, problem in sorted(sheet.faults):
        found.excluded.setdefault(sheet.rows[number]["library"], problem)
    found.libraries = [entry for entry in found.libraries if entry["library"] not in found.excluded]
    if not found.libraries:
        found.problems += [f"{sheet.path.name}: no library is left", *(problem for _, problem in sorted(sheet.faults))]


def reference_problems(libraries: Sheet | None, genome: Path | None, variants: Sequence[Path]) -> list[str]:
    """Contigs of genotypes against the genome's; faults of libraries (their contigs, donors) are noted in their sheet."""
    problems: list[str] = []
    contigs: dict[str, int] = {}
    if genome:
        try:
            contigs = fasta_contigs(genome)
        except DataError as error:
            problems.append(str(error))
    for path in variants:
        try:
            variant_contigs, donors = variant_header(path)
        except DataError as error:
            problems.append(str(error))
        else:
            if contigs and genome:
                problems += compare_contigs(path.name, variant_contigs, contigs, genome.name)
            if libraries:
                for number, problem in missing_donors(libraries.rows, donors, path.name):
                    libraries.fault(number, problem)
    if libraries:
        _check_signal(libraries, contigs, genome.name if genome else "the genome")
    return problems


def _check_signal(libraries: Sheet, contigs: dict[str, int], genome: str) -> None:
    """Note unreadable signal files, and those of another genome; files that are missing were noted before."""
    for number, row in enumerate(libraries.rows):
        for column in FILE_COLUMNS:
            path = libraries.located(row.get(column, ""))
            if not row.get(column) or not path.is_file() or path.stat().st_size == 0:
                continue
            try:
                if column.startswith("fastq"):
                    check_fastq(path)
                    continue
                found = signal_contigs(path)
            except DataError as error:
                libraries.fault(number, str(error))
                continue
            for problem in compare_contigs(f"{column} {row[column]}", found, contigs, genome) if contigs else []:
                libraries.fault(number, problem)


def write_inputs(found: Inputs, out: Path) -> None:
    """The checked sheets as JSON: ``libraries``, ``mpra``, ``variant_sets``, ``comparators``, ``checksums``; paths as written.

    Excluded libraries go into a table alongside, ``out`` with the suffix ``.excluded.tsv``.
    """
    content = {name: getattr(found, name) for name in ("libraries", "mpra", "variant_sets", "comparators", "checksums")}
    with atomic_path(out) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if found.excluded:
        write_excluded(found.excluded, out.with_suffix(".excluded.tsv"))
