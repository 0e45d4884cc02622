"""What a user does wrong, tool by tool: one clear line, exit status 1, and nothing left behind.

Every input of every tool is, in turn, missing, empty and (where the format can tell) cut in half.
"""

import shutil
from pathlib import Path

import pysam
import pytest

from helpers.tools import CALLS, Call, Done, run

BINARY = (".bam", ".bw", ".gz")
FAULTS = [
    (call, option, fault)
    for call in CALLS
    for option, path in call.inputs.items()
    for fault in ("missing", "empty", *(("truncated",) if path.endswith(BINARY) else ()))
    if (option, fault) != ("folder", "empty")  # holds "any of" its files, so possibly none
]


def spoil(world: Path, original: str, fault: str, folder: Path) -> str:
    """A spoilt copy of an input; its index, where there is one, stays as it was."""
    source, spoilt = world / original, folder / Path(original).name
    if fault == "missing":
        return str(spoilt)
    if source.is_dir():
        spoilt.mkdir()
        return str(spoilt)
    content = source.read_bytes()
    spoilt.write_bytes(b"" if fault == "empty" else content[: len(content) // 2])
    for suffix in (".bai", ".tbi", ".fai"):
        if (index := Path(f"{source}{suffix}")).is_file():
            shutil.copy(index, f"{spoilt}{suffix}")
    return str(spoilt)


def complaint(done: Done) -> str:
    """The one line of a refused call."""
    assert done.returncode == 1, f"exit {done.returncode}: {done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.stderr.rstrip().endswith(line), "something was said after the error"
    return line


def assert_nothing_written(folder: Path, call: Call) -> None:
    left = [path for path in folder.rglob("*") if path.is_file()]
    assert not left, f"{call.tool} left {[str(path.relative_to(folder)) for path in left]}"


def refused(world: Path, call: Call, changed: dict[str, str], tmp_path: Path) -> str:
    """Run a spoilt call with its outputs in an empty folder; returns its complaint."""
    out = tmp_path / "out"
    out.mkdir()
    outputs = {option: str(out / Path(path).name) for option, path in call.outputs.items()}
    line = complaint(run(world, call.tool, call.arguments(changed | outputs)))
    assert_nothing_written(out, call)
    return line


@pytest.mark.parametrize(("call", "option", "fault"), FAULTS, ids=[f"{c.tool}-{o}-{f}" for c, o, f in FAULTS])
def test_a_spoilt_input_is_named(world: Path, call: Call, option: str, fault: str, tmp_path: Path) -> None:
    spoilt = spoil(world, call.inputs[option], fault, tmp_path)
    assert Path(spoilt).name in refused(world, call, {option: spoilt}, tmp_path)


def renamed(world: Path, tmp_path: Path) -> str:
    """The cohort's genotypes with contigs 1, 2 in place of chr1, chr2."""
    with pysam.VariantFile(str(world / "sim" / "variants.vcf.gz")) as source:
        text = f"{source.header}" + "".join(map(str, source))
    plain = tmp_path / "renamed.vcf"
    plain.write_text(text.replace("ID=chr", "ID=").replace("\nchr", "\n"))
    pysam.tabix_index(str(plain), preset="vcf")
    return str(plain) + ".gz"


@pytest.mark.parametrize(
    ("tool", "option"), [("extract_haplotypes", "vcf"), ("match_donors", "vcf"), ("check_inputs", "variants")]
)
def test_contigs_that_do_not_match_are_named(world: Path, tool: str, option: str, tmp_path: Path) -> None:
    call = next(call for call in CALLS if call.tool == tool)
    line = refused(world, call, {option: renamed(world, tmp_path)}, tmp_path)
    assert "renamed.vcf.gz" in line
    assert "chr1" in line


def test_a_donor_who_is_not_in_the_vcf_is_named(world: Path, tmp_path: Path) -> None:
    call = next(call for call in CALLS if call.tool == "check_inputs")
    text = (world / "sim" / "libraries.tsv").read_text()
    sheet = tmp_path / "libraries.tsv"
    sheet.write_text(text.replace("\tSIM0002\t", "\tNA99999\t").replace("libraries/", f"{world}/sim/libraries/"))
    line = refused(world, call, {"libraries": str(sheet)}, tmp_path)
    assert "NA99999" in line
    assert "variants.vcf.gz" in line


def test_a_bad_row_of_a_sheet_is_named(world: Path, tmp_path: Path) -> None:
    call = next(call for call in CALLS if call.tool == "merge_peaks")
    sheet = tmp_path / "peaks.tsv"
    text = (world / "peaks.tsv").read_text().replace("\ta.", f"\t{world}/a.")
    sheet.write_text(text + "b\tSIM0002\tnowhere.bed\tnowhere.bed\n")
    line = refused(world, call, {"sheet": str(sheet)}, tmp_path)
    assert "nowhere.bed" in line
