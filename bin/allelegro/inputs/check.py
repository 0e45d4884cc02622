"""All inputs of a run, checked against each other."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from allelegro.errors import DataError
from allelegro.inputs.excluded import write_excluded
from allelegro.inputs.references import (
    check_fastq,
    compare_contigs,
    fasta_contigs,
    signal_contigs,
    unphased_at,
    variant_header,
)
from allelegro.inputs.sheets import (
    FILE_COLUMNS,
    Sheet,
    check_files,
    check_same_data,
    merge_runs,
    read_comparators,
    read_libraries,
    read_mpra,
    read_peaks,
    read_variant_sets,
    scored_names,
)
from allelegro.io.atomic import atomic_path
from allelegro.io.checksums import sha256
from allelegro.io.contigs import few
from allelegro.io.covariates import of_donors, read_covariates


@dataclass
class Inputs:
    """The sheets' rows, SHA-256 of sheets, references and tables (not of reads), and every problem found.

    ``excluded`` holds the reason for each library that is not among ``libraries`` because it cannot be used.
    """

    libraries: list[dict[str, Any]] = field(default_factory=list)
    mpra: list[dict[str, str]] = field(default_factory=list)
    variant_sets: list[dict[str, str]] = field(default_factory=list)
    comparators: list[dict[str, str]] = field(default_factory=list)
    peaks: list[dict[str, str]] = field(default_factory=list)
    scored: list[str] = field(default_factory=list)
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
    peaks: Path | None = None,
    covariates: Path | None = None,
    scored: Sequence[str] = (),
    rows_only: bool = False,
    skip_bad_libraries: bool = False,
    unphased_allowed: bool = False,
) -> Inputs:
    """Read everything given; a problem of one file does not hide those of the others.

    With ``skip_bad_libraries`` a library whose files or donor cannot be used is excluded; that none is left is a problem.
    Unphased heterozygotes of the libraries' donors (everyone's without libraries) are a problem unless ``unphased_allowed``.
    """
    found = Inputs()
    readers: dict[str, tuple[Path | None, Callable[[Path], Sheet], tuple[str, ...]]] = {
        "libraries": (libraries, read_libraries, FILE_COLUMNS),
        "mpra": (mpra, read_mpra, ("table",)),
        "variant_sets": (variant_sets, read_variant_sets, ("table", "genome")),
        "comparators": (comparators, read_comparators, ("table",)),
        "peaks": (peaks, read_peaks, ("peaks", "elements")),
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
        if not unphased_allowed:
            found.problems += _unphased(sheets.get("libraries"), variants)
        for name in ("libraries", "mpra"):
            if name in sheets:
                check_same_data(sheets[name], readers[name][2])
    for name, sheet in sheets.items():
        found.problems += sheet.lines(with_faults=not (skip_bad_libraries and name == "libraries"))
    if "libraries" in sheets:
        found.libraries = merge_runs(sheets["libraries"].rows)
        if skip_bad_libraries:
            _exclude_libraries(found, sheets["libraries"])
    found.mpra = sheets["mpra"].rows if "mpra" in sheets else []
    found.variant_sets = sheets["variant_sets"].rows if "variant_sets" in sheets else []
    found.comparators = sheets["comparators"].rows if "comparators" in sheets else []
    found.peaks = sheets["peaks"].rows if "peaks" in sheets else []
    known = {row["name"] for row in found.variant_sets}
    found.scored, problems = scored_names(scored, known)
    found.problems += problems
    for number, row in enumerate(found.comparators, 1):
        if row["set"] not in known:
            found.problems.append(f"{comparators} row {number}: set '{row['set']}' is not in the sheet of variant sets")
    if covariates is not None:
        found.problems += covariate_problems(covariates, [row["donor"] for row in found.libraries])
    if not found.problems and not rows_only:
        sheets_given = (libraries, peaks, mpra, variant_sets, comparators, covariates)
        given = [path for path in (*sheets_given, genome, *variants) if path]
        tables = [
            (row["table"], sheets[name].located(row["table"]))
            for name in ("mpra", "variant_sets", "comparators")
            for row in (sheets[name].rows if name in sheets else [])
        ]
        files = [*tables, *((path.name, path) for path in given)]
        found.checksums = {name: sha256(path) for name, path in files if path.is_file()}
    return found


def covariate_problems(path: Path, donors: Sequence[str]) -> list[str]:
    """What is wrong with a sheet of covariates: as a table, or because a donor with libraries is not in it."""
    try:
        of_donors(read_covariates(path), path, sorted(set(donors)))
    except DataError as error:
        return [str(error)]
    return []


def _unphased(libraries: Sheet | None, variants: Sequence[Path]) -> list[str]:
    """Say early what extraction would stop at: the first unphased heterozygote among the first records of the contigs."""
    donors = {row["donor"] for row in libraries.rows} if libraries else None
    for path in variants:
        try:
            found = unphased_at(path, donors)
        except DataError:
            continue  # an unreadable file was named before
        if found:
            place, donor = found
            return [
                f"{path.name}: the genotypes at {place} are not phased (donor {donor}); phase them (Beagle, SHAPEIT), or "
                "choose --unphased reference or random"
            ]
    return []


def _exclude_libraries(found: Inputs, sheet: Sheet) -> None:
    """Take the libraries with faults from ``found.libraries``, noting the first fault of each."""
    for fault in sorted(sheet.faults):
        found.excluded.setdefault(sheet.rows[fault.row]["library"], fault.line)
    found.libraries = [entry for entry in found.libraries if entry["library"] not in found.excluded]
    if not found.libraries:
        found.problems += [f"{sheet.path.name}: no library is left", *sheet.lines()]


def reference_problems(libraries: Sheet | None, genome: Path | None, variants: Sequence[Path]) -> list[str]:
    """Contigs of genotypes against the genome's; faults of libraries (their contigs, donors) are noted in their sheet."""
    problems: list[str] = []
    contigs: dict[str, int] = {}
    if genome:
        try:
            contigs = fasta_contigs(genome)
        except DataError as error:
            problems.append(str(error))
    owner: dict[str, Path] = {}
    donors: dict[Path, list[str]] = {}
    for path in variants:
        try:
            own_contigs, donors[path] = variant_header(path)
        except DataError as error:
            problems.append(str(error))
            continue
        if contigs and genome:
            problems += compare_contigs(path.name, own_contigs, contigs, genome.name)
        if twice := next((name for name in own_contigs if name in owner), None):
            problems.append(
                f"{path.name}: {owner[twice].name} has records of {twice}, too; give each contig in one file"
            )
        owner |= dict.fromkeys(own_contigs, path)
    if libraries:
        _check_donors(libraries, donors)
        _check_signal(libraries, contigs, genome.name if genome else "the genome")
    return problems


def _check_donors(libraries: Sheet, donors: Mapping[Path, Sequence[str]]) -> None:
    """Note rows whose donor is not in all files of genotypes."""
    for number, donor in enumerate(row["donor"] for row in libraries.rows):
        lacking = [path for path, known in donors.items() if donor and donor not in known]
        if lacking:
            others = f" and {len(lacking) - 1} other files" if len(lacking) > 1 else ""
            known = few(sorted(donors[lacking[0]]))
            problem = f"donor '{donor}' is not in {lacking[0].name}{others} (it has {known})"
            libraries.fault(number, problem, f"not in {lacking}")


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
                found = signal_contigs(path, column)
            except DataError as error:
                libraries.fault(number, str(error), str(error).replace(str(path), ""))
                continue
            for problem in compare_contigs(f"{column} {row[column]}", found, contigs, genome) if contigs else []:
                libraries.fault(number, problem, problem.replace(row[column], ""))


def write_inputs(found: Inputs, out: Path) -> None:
    """The checked sheets as JSON, a list of rows each (paths as written), names of scored files, and ``checksums``.

    Excluded libraries go into a table alongside, ``out`` with the suffix ``.excluded.tsv``.
    """
    parts = ("libraries", "peaks", "mpra", "variant_sets", "comparators", "scored", "checksums")
    content = {name: getattr(found, name) for name in parts}
    with atomic_path(out) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if found.excluded:
        write_excluded(found.excluded, out.with_suffix(".excluded.tsv"))
