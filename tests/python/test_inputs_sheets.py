"""Every problem of the inputs is named with file, row and value, all at once; good inputs become one JSON."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pysam
import pytest

from allelegro.inputs.excluded import read_excluded

ROOT = Path(__file__).parents[2]


def check(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run check_inputs.py as a user would."""
    command = [sys.executable, str(ROOT / "bin" / "check_inputs.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def problems(*arguments: object) -> list[str]:
    """The lines of a failing check; nothing may be written."""
    result = check(*arguments)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert not Path(str(arguments[arguments.index("--out") + 1])).exists()
    lines = result.stderr.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    return [line.removeprefix("error: ") for line in lines]


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """One contig, two donors, one BAM library: small, but of the real kinds."""
    (tmp_path / "genome.fa").write_text(">chr1\n" + "ACGT" * 250 + "\n")
    pysam.faidx(str(tmp_path / "genome.fa"))
    header = pysam.AlignmentHeader.from_dict({"HD": {"SO": "coordinate"}, "SQ": [{"SN": "chr1", "LN": 1000}]})
    write_bam(tmp_path / "a.bam", header)
    write_vcf(tmp_path / "variants.vcf", "chr1")
    (tmp_path / "libraries.tsv").write_text("library\tdonor\tbam\nA\tD1\ta.bam\n")
    return tmp_path


def write_bam(path: Path, header: pysam.AlignmentHeader, reads: int = 200) -> None:
    with pysam.AlignmentFile(str(path), "wb", header=header) as file:
        for start in range(reads):
            read = pysam.AlignedSegment(header)
            read.query_name, read.reference_id, read.reference_start = f"r{start}", 0, start
            read.query_sequence, read.cigarstring, read.mapping_quality = "ACGT" * 9, "36M", 60
            file.write(read)
    pysam.index(str(path))


def write_vcf(path: Path, contig: str) -> None:
    path.write_text(
        f"##fileformat=VCFv4.2\n##contig=<ID={contig},length=1000>\n"
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tD1\tD2\n"
        f"{contig}\t5\t.\tA\tC\t.\t.\t.\tGT\t0|1\t1|1\n"
    )
    pysam.tabix_index(str(path), preset="vcf", force=True)


def arguments(cohort: Path) -> list[object]:
    return [
        *("--libraries", cohort / "libraries.tsv", "--genome", cohort / "genome.fa"),
        *("--variants", cohort / "variants.vcf.gz", "--out", cohort / "inputs.json"),
    ]


def test_good_inputs_become_json_with_runs_merged(cohort: Path) -> None:
    write_bam(cohort / "b.bam", pysam.AlignmentFile(str(cohort / "a.bam")).header, reads=150)
    (cohort / "libraries.tsv").write_text("library\tdonor\tbam\nA\tD1\ta.bam\nA\tD1\tb.bam\n")
    result = check(*arguments(cohort))
    assert result.returncode == 0, result.stderr
    found = json.loads((cohort / "inputs.json").read_text())
    assert [(row["library"], row["donor"], row["bam"]) for row in found["libraries"]] == [
        ("A", "D1", ["a.bam", "b.bam"])
    ]
    assert set(found["checksums"]) == {"libraries.tsv", "genome.fa", "variants.vcf.gz"}


def test_donor_names_stay_as_written(cohort: Path) -> None:
    (cohort / "libraries.tsv").write_text("library\tdonor\tbam\n01\t007\ta.bam\n")
    assert problems(*arguments(cohort)) == [
        "libraries.tsv row 1: donor '007' is not in variants.vcf.gz (it has D1, D2)"
    ]


def test_all_problems_at_once(cohort: Path) -> None:
    (cohort / "empty.bw").touch()
    (cohort / "libraries.tsv").write_text(
        "library\tdonor\tbam\tplus\tminus\n"
        "A\tD1\ta.bam\t\t\n"
        "B b\tD1\tno.bam\t\t\n"
        "C\tD9\t\tempty.bw\t\n"
        "D\tD2\ta.bam\tx.bw\ty.bw\n"
        "E\t\t\t\t\n"
    )
    text = "\n".join(problems(*arguments(cohort)))
    for expected in (
        "row 2: library 'B b' may hold only",
        "row 2: bam no.bam: no such file",
        "row 3: minus is empty; both strands are needed",
        "row 3: plus empty.bw: the file is empty",
        "row 3: donor 'D9' is not in variants.vcf.gz",
        "row 4: bam, minus, plus are given together",
        "row 4: a.bam is already used in row 1",
        "row 5: donor is empty",
        "row 5: no input",
    ):
        assert expected in text


def test_contig_names_with_and_without_chr(cohort: Path) -> None:
    write_vcf(cohort / "variants.vcf", "1")
    (line,) = problems(*arguments(cohort))
    assert "no contig in common with genome.fa (1 against chr1)" in line
    assert "prefix chr" in line


def test_another_assembly(cohort: Path) -> None:
    header = pysam.AlignmentHeader.from_dict({"HD": {"SO": "coordinate"}, "SQ": [{"SN": "chr1", "LN": 999}]})
    write_bam(cohort / "a.bam", header)
    (line,) = problems(*arguments(cohort))
    assert "chr1 is 999 bp long, in genome.fa 1000 bp" in line


def test_truncated_bam(cohort: Path) -> None:
    whole = (cohort / "a.bam").read_bytes()
    (cohort / "a.bam").write_bytes(whole[: len(whole) // 2])
    (line,) = problems(*arguments(cohort))
    assert line.startswith("libraries.tsv row 1:")
    assert "truncated" in line


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("libraries.tsv", None, "no such file"),
        ("libraries.tsv", "", "the file is empty"),
        ("libraries.tsv", "library\tbam\nA\ta.bam\n", "column donor is missing"),
        ("genome.fa", None, "no such file"),
        ("genome.fa", "", "the file is empty"),
        ("variants.vcf.gz", None, "no such file"),
        ("variants.vcf.gz", "not a vcf", "not a readable VCF"),
    ],
)
def test_missing_empty_and_wrong_files(cohort: Path, name: str, content: str | None, expected: str) -> None:
    if content is None:
        (cohort / name).unlink()
    else:
        (cohort / name).write_text(content)
        (cohort / "genome.fa.fai").unlink(missing_ok=True)
    lines = problems(*arguments(cohort))
    assert any(name in line and expected in line for line in lines), lines


def test_variant_set_sheet(cohort: Path) -> None:
    (cohort / "sets.tsv").write_text("name\tkind\ttable\na\tsatmut\ta.bam\na\todd\tno.tsv\n")
    (cohort / "outside.tsv").write_text("set\tname\ttable\nz\tenformer\ta.bam\n")
    text = "\n".join(
        problems(*arguments(cohort), "--variant-sets", cohort / "sets.tsv", "--comparators", cohort / "outside.tsv")
    )
    assert "sets.tsv row 2: name 'a' occurs twice" in text
    assert "sets.tsv row 2: kind 'odd' is not one of satmut" in text
    assert "sets.tsv row 2: table no.tsv: no such file" in text
    assert "row 1: set 'z' is not in the sheet of variant sets" in text


def test_bad_libraries_are_left_out_by_name_when_asked(cohort: Path) -> None:
    (cohort / "short.bam").write_bytes((cohort / "a.bam").read_bytes()[:-40])
    (cohort / "not.fq").write_text(">a\nACGT\n")
    rows = "B\tD1\tshort.bam\t\nC\tD2\tno.bam\t\nD\tD9\ta2.bam\t\nE\tD1\t\tnot.fq\n"
    (cohort / "a2.bam").write_bytes((cohort / "a.bam").read_bytes())
    (cohort / "libraries.tsv").write_text(f"library\tdonor\tbam\tfastq_1\nA\tD1\ta.bam\t\n{rows}")
    lines = problems(*arguments(cohort))
    assert [line.split(":")[0] for line in lines] == [f"libraries.tsv row {number}" for number in (2, 3, 4, 5)]
    result = check(*arguments(cohort), "--skip-bad-libraries")
    assert result.returncode == 0, result.stderr
    assert [row["library"] for row in json.loads((cohort / "inputs.json").read_text())["libraries"]] == ["A"]
    excluded = read_excluded([cohort])
    expected = {
        "B": "truncated",
        "C": "no such file",
        "D": "donor 'D9' is not in",
        "E": "does not begin with a FASTQ record",
    }
    assert excluded.keys() == expected.keys()
    assert all(text in excluded[library] for library, text in expected.items())
    (cohort / "inputs.json").unlink()
    (cohort / "libraries.tsv").write_text(f"library\tdonor\tbam\tfastq_1\n{rows}")
    assert problems(*arguments(cohort), "--skip-bad-libraries")[0] == "libraries.tsv: no library is left"


def test_fastq_rows(cohort: Path) -> None:
    record = "@r\nACGT\n+\nIIII\n"
    (cohort / "1.fq").write_text(record)
    (cohort / "2.fq.gz").write_bytes(gzip.compress(record.encode()))
    (cohort / "3.fq.gz").write_bytes(gzip.compress(1000 * record.encode())[:-40][:25])
    (cohort / "4.fq").write_text(record)
    table = "library\tdonor\tfastq_1\tfastq_2\nA\tD1\t1.fq\t2.fq.gz\n"
    (cohort / "libraries.tsv").write_text(table)
    assert check(*arguments(cohort)).returncode == 0
    (cohort / "inputs.json").unlink()
    (cohort / "libraries.tsv").write_text(f"{table}A\tD1\t3.fq.gz\t\nB\tD2\t\t4.fq\n")
    text = "\n".join(problems(*arguments(cohort)))
    assert "row 2: library 'A' has fastq_1 and fastq_2 above and fastq_1 here; runs must be of one kind" in text
    assert "3.fq.gz: the gzip stream ends early" in text
    assert "row 3: fastq_1 is empty; read 2 alone cannot be used" in text


@pytest.mark.parametrize("way", ["spelling", "link", "hard link", "copy"])
@pytest.mark.parametrize("donor", ["D1", "D2"])
def test_the_same_data_twice_is_a_problem(cohort: Path, way: str, donor: str) -> None:
    again = {"spelling": "./sub/../a.bam"}.get(way, "again.bam")
    (cohort / "sub").mkdir()
    if way == "link":
        (cohort / again).symlink_to(cohort / "a.bam")
    elif way == "hard link":
        (cohort / again).hardlink_to(cohort / "a.bam")
    elif way == "copy":
        (cohort / again).write_bytes((cohort / "a.bam").read_bytes())
    (cohort / "libraries.tsv").write_text(f"library\tdonor\tbam\nA\tD1\ta.bam\nB\t{donor}\t{again}\n")
    (line,) = problems(*arguments(cohort))
    said = "has the content of a.bam in row 1" if way == "copy" else "is the file a.bam of row 1"
    assert line.startswith(f"libraries.tsv row 2: {again} {said}")


def test_one_file_for_both_strands(cohort: Path) -> None:
    (cohort / "libraries.tsv").write_text("library\tdonor\tplus\tminus\nA\tD1\tx.bedgraph\tx.bedgraph\n")
    (cohort / "x.bedgraph").write_text("chr1\t5\t6\t1\n")
    assert problems(*arguments(cohort)) == [
        "libraries.tsv row 1: plus and minus are one file, x.bedgraph; give each its own"
    ]


def test_problems_come_once_in_the_order_of_rows_and_not_by_the_thousand(cohort: Path) -> None:
    rows = [f"L {row}\tD1\tno/{row}/a.bam\n" for row in range(1000)]
    (cohort / "libraries.tsv").write_text("library\tdonor\tbam\n" + "".join(rows))
    lines = problems(*arguments(cohort))
    assert len(lines) == 51 and lines[-1] == "libraries.tsv: and 1950 more problems"
    numbers = [int(line.split("row ")[1].split(":")[0]) for line in lines[:-1]]
    assert numbers == sorted(numbers) and len(set(lines)) == len(lines)


def test_rows_of_one_cause_share_a_line(cohort: Path) -> None:
    rows = [f"L{row}\t{'D1' if row == 3 else 'D9'}\t{'a.bam' if row == 5 else f'no{row}.bam'}\n" for row in range(1, 9)]
    (cohort / "libraries.tsv").write_text("library\tdonor\tbam\n" + "".join(rows))
    missing, donor = problems(*arguments(cohort))
    assert missing.startswith("libraries.tsv row 1: bam no1.bam: no such file")
    assert missing.endswith("; the same in rows 2-4, 6-8")
    assert donor.startswith("libraries.tsv row 1: donor 'D9' is not in variants.vcf.gz")
    assert donor.endswith("; the same in rows 2, 4-8")
    header = pysam.AlignmentHeader.from_dict({"HD": {"SO": "coordinate"}, "SQ": [{"SN": "1", "LN": 1000}]})
    for name in ("a.bam", "b.bam"):
        write_bam(cohort / name, header)
    (cohort / "libraries.tsv").write_text("library\tdonor\tbam\nA\tD1\ta.bam\nB\tD2\tb.bam\n")
    contigs = [line for line in problems(*arguments(cohort)) if "no contig in common" in line]
    assert len(contigs) == 1 and contigs[0].endswith("; the same in row 2")


def test_several_files_of_genotypes(cohort: Path) -> None:
    """A donor who is in none is said once; a contig belongs to one file."""
    write_vcf(cohort / "more.vcf", "chr2")
    (cohort / "genome.fa").write_text("".join(f">chr{n}\n" + "ACGT" * 250 + "\n" for n in (1, 2)))
    pysam.faidx(str(cohort / "genome.fa"))
    assert check(*arguments(cohort), "--variants", cohort / "more.vcf.gz").returncode == 0
    (cohort / "inputs.json").unlink()
    (cohort / "libraries.tsv").write_text("library\tdonor\tbam\nA\tD9\ta.bam\n")
    assert problems(*arguments(cohort), "--variants", cohort / "more.vcf.gz") == [
        "libraries.tsv row 1: donor 'D9' is not in variants.vcf.gz and 1 other files (it has D1, D2)"
    ]
    (cohort / "libraries.tsv").write_text("library\tdonor\tbam\nA\tD1\ta.bam\n")
    write_vcf(cohort / "more.vcf", "chr1")
    (line,) = problems(*arguments(cohort), "--variants", cohort / "more.vcf.gz")
    assert line.startswith("more.vcf.gz: variants.vcf.gz has records of chr1, too")


def test_contigs_that_are_excluded_anyway_do_not_count(cohort: Path) -> None:
    """hg19 and its 1000 Genomes edition have two different mitochondria."""
    lengths = [{"SN": "chr1", "LN": 1000}, {"SN": "chrM", "LN": 16571}]
    write_bam(cohort / "a.bam", pysam.AlignmentHeader.from_dict({"HD": {"SO": "coordinate"}, "SQ": lengths}))
    (cohort / "genome.fa").write_text(">chr1\n" + "ACGT" * 250 + "\n>chrM\n" + "A" * 16569 + "\n")
    pysam.faidx(str(cohort / "genome.fa"))
    assert check(*arguments(cohort)).returncode == 0


def test_unphased_genotypes_are_said_early(cohort: Path) -> None:
    text = gzip.decompress((cohort / "variants.vcf.gz").read_bytes()).decode()
    for genotype, said in (("0/1", True), ("1/1", False), ("10/1", True), ("./.", False), ("./1", True)):
        (cohort / "variants.vcf").write_text(text.replace("0|1", genotype))
        pysam.tabix_index(str(cohort / "variants.vcf"), preset="vcf", force=True)
        result = check(*arguments(cohort))
        assert ("error: variants.vcf.gz: the genotypes at chr1:5 are not phased" in result.stderr) == said, genotype
        assert (result.returncode == 1) == said
        assert check(*arguments(cohort), "--unphased", "random").returncode == 0


def test_a_missing_index_is_found_early(cohort: Path) -> None:
    (cohort / "variants.vcf.gz.tbi").unlink()
    (line,) = problems(*arguments(cohort))
    assert "variants.vcf.gz: no index (.tbi or .csi); sort and index it" in line


def test_tables_of_one_name_keep_their_checksums(cohort: Path) -> None:
    for folder, cell in (("x", "1"), ("y", "2")):
        (cohort / folder).mkdir()
        (cohort / folder / "t.tsv").write_text(f"seq\tmean_value\nACGT\t{cell}\n")
    (cohort / "mpra.tsv").write_text("name\ttable\na\tx/t.tsv\nb\ty/t.tsv\n")
    assert check(*arguments(cohort), "--mpra", cohort / "mpra.tsv").returncode == 0
    found = json.loads((cohort / "inputs.json").read_text())["checksums"]
    assert found["x/t.tsv"] != found["y/t.tsv"]
