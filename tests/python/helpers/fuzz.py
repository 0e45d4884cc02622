"""Damaged and crafted inputs with fixed seeds: a case is its kind and its number."""

import contextlib
import json
import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pysam

from helpers.attacks import (
    HOSTILE,
    Case,
    bam_records,
    blocks_of,
    executed,
    faults_of,
    leftovers_of,
    outputs_of,
    write_blocks,
)
from helpers.tools import CALLS, Call, Done, run

_NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, -(2**31), 2**31, 2**32 - 1, 2**32)
_CELLS = (
    "", "NA", "nan", "inf", "-inf", "1e400", "-1", "0", "1.5", "2147483648", "4294967296", "9223372036854775808", "9" * 40,
    '"', "'", "\t", ",", "\0", "é", "\ufeff", "\x1f", "#", ".", "chr1", "chrX", "N", "A" * 5000, "0|1", "1|1|1", "2/9", "<DEL>",
    *HOSTILE,
)  # fmt: skip
_VALUES = (
    None,
    True,
    0,
    -1,
    1e308,
    math.nan,
    math.inf,
    100_000,
    2**40,
    "",
    "x",
    "A" * 5000,
    [],
    {},
    [[]],
    [0],
    {"a": 1},
)
ROWS = 30  # of a table or VCF that is damaged


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Bytes with one to six changes: flips, extreme numbers, pieces cut, doubled or put in."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(out) + 1)
        size = chance.choice((1, 2, 4, 8, 64))
        what = chance.randrange(7)
        if what == 0 and out:
            out[at % len(out)] ^= 1 << chance.randrange(8)
        elif what == 1:
            value = chance.choice(_NUMBERS) % 2 ** (8 * min(size, 8))
            out[at : at + min(size, 8)] = value.to_bytes(min(size, 8), "little")
        elif what == 2:
            del out[at : at + size]
        elif what == 3:
            out[at:at] = out[at : at + size]
        elif what == 4:
            out[at:at] = chance.randbytes(size)
        elif what == 5 and chance.random() < 0.2:
            del out[at:]
        else:
            out[at : at + size] = bytes([chance.choice((0, 255, 127, 128))]) * size
    return bytes(out)


def damaged_text(text: str, chance: random.Random) -> bytes:
    """Lines with some cells replaced, or lines gone, doubled or out of order; now and then damaged bytes."""
    lines = text.split("\n")
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        what = chance.randrange(8)
        if what == 0:
            del lines[at]
            lines = lines or [""]
        elif what == 1:
            lines.insert(at, lines[chance.randrange(len(lines))])
        elif what == 2:
            other = chance.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            separator = "\t" if "\t" in lines[at] else ","
            cells = lines[at].split(separator)
            cells[chance.randrange(len(cells))] = chance.choice(_CELLS)
            lines[at] = separator.join(cells)
    data = "\n".join(lines).encode("utf-8", "surrogateescape")
    return damaged(data, chance) if chance.random() < 0.15 else data


def damaged_document(document: Any, chance: random.Random) -> Any:
    """A JSON document with one to three values replaced or gone."""
    document = json.loads(json.dumps(document))
    for _ in range(chance.randint(1, 3)):
        node, path = document, []
        while isinstance(node, dict | list) and node:
            key: Any = chance.choice(list(node)) if isinstance(node, dict) else chance.randrange(len(node))
            path.append((node, key))
            node = node[key]
            if chance.random() < 0.3:
                break
        if path:
            parent, key = path[-1]
            if chance.random() < 0.2:
                del parent[key]
            else:
                parent[key] = chance.choice((*_VALUES, *_NUMBERS))
    return document


def call_of(tool: str, option: str) -> Call:
    """The first valid call of a tool that has an input option."""
    return next(call for call in CALLS if call.tool == tool and option in call.inputs)


def run_changed(world: Path, call: Call, changed: dict[str, str], folder: Path) -> list[tuple[str, str]]:
    """Run a call with damaged inputs: it succeeds whole, or fails with one line and no output."""
    out = folder / "out"
    out.mkdir()
    done = run(world, call.tool, call.arguments(changed | outputs_of(call, out)))
    found = faults_of(done, lines=60 if call.tool == "check_inputs" else 1) + leftovers_of(out) + executed(folder)
    if done.returncode == 1 and (files := [str(path) for path in out.rglob("*") if path.is_file()]):
        found.append(("leftover", f"{call.tool} failed and left {files}"))
    return found


def kinds(world: Path) -> dict[str, Case]:
    """A function for each kind of input: (empty folder, number) → faults."""
    # long because it holds one small function a kind, which share what the world holds
    from allelegro.errors import DataError

    bam = bam_records(blocks_of(world / "a.bam"), 60)
    signal = (world / "a.plus.bw").read_bytes()
    lines = blocks_of(world / "sim" / "variants.vcf.gz").decode().splitlines()
    header = [line for line in lines if line.startswith("#")]
    vcf = "\n".join(header + [line for line in lines if not line.startswith("#")][:ROWS]) + "\n"

    def chance_of(kind: str, number: int) -> random.Random:
        return random.Random(f"{kind} {number}")

    def alignment(folder: Path, number: int) -> list[tuple[str, str]]:
        path, chance = folder / "a.bam", chance_of("bam", number)
        if chance.random() < 0.8:
            write_blocks(damaged(bam, chance), path)
        else:
            write_blocks(bam, path)
            path.write_bytes(damaged(path.read_bytes(), chance))
        call = call_of("match_donors" if number % 5 == 0 else "procap_coverage", "reads")
        if number % 5 == 0:
            shutil.copy(world / "a.bam.bai", folder / "a.bam.bai")
        return run_changed(world, call, {"reads": str(path)}, folder)

    def coverage(folder: Path, number: int) -> list[tuple[str, str]]:
        path = folder / "a.plus.bw"
        path.write_bytes(damaged(signal, chance_of("bigwig", number)))
        return run_changed(world, call_of("call_peaks", "plus"), {"plus": str(path)}, folder)

    def genotypes(folder: Path, number: int) -> list[tuple[str, str]]:
        chance = chance_of("vcf", number)
        text, path = damaged_text(vcf, chance), folder / "v.vcf"
        path.write_bytes(text)
        if chance.random() < 0.9:
            path = folder / "v.vcf.gz"
            write_blocks(text, path)
            with contextlib.suppress(OSError):  # what cannot be indexed is tried without
                pysam.tabix_index(str(path), preset="vcf")
        return run_changed(world, call_of("extract_haplotypes", "vcf"), {"vcf": str(path)}, folder)

    def reading(store: str, read: Callable[[Path], object], checksums: str) -> Case:
        """Files of a folder of ours damaged one at a time, in half of the cases with the checksum made right."""

        def case(folder: Path, number: int) -> list[tuple[str, str]]:
            chance = chance_of(store, number)
            copy = folder / store
            shutil.copytree(world / store, copy)
            file = chance.choice(sorted(path for path in copy.iterdir() if not path.name.startswith(".")))
            if file.suffix == ".json" and chance.random() < 0.8:
                document = damaged_document(json.loads(file.read_text()), chance)
                file.write_text(json.dumps(document))
            else:
                file.write_bytes(damaged(file.read_bytes(), chance))
                if file.name != checksums and chance.random() < 0.5:
                    _record(copy / checksums, file)
            try:
                read(copy)
            except DataError as error:
                message = f"error: {' '.join(str(error).split())}\n"
                return faults_of(Done(1, message))
            return []

        return case

    def tables(folder: Path, number: int) -> list[tuple[str, str]]:
        chance = chance_of("table", number)
        tool, option = chance.choice(TABLES)
        call = call_of(tool, option)
        source = world / call.inputs[option]
        text = "\n".join(source.read_text().split("\n")[:ROWS])
        path = folder / source.name
        path.write_bytes(damaged_text(text, chance))
        return run_changed(world, call, {option: str(path)}, folder)

    return {
        "BAM": alignment,
        "bigWig": coverage,
        "VCF": genotypes,
        "haplotype stores": reading("haplotypes", _read_haplotypes, "metadata.json"),
        "counts stores": reading("counts", _read_counts, "metadata.json"),
        "checkpoints": reading("finetuned", _read_checkpoint, "model.json"),
        "tables": tables,
    }


TABLES = [
    ("prepare_mpra", "table"), ("fit_kmers", "table"), ("benchmark_variants", "scores"), ("benchmark_variants", "truth"),
    ("count_windows", "windows"), ("count_windows", "sheet"), ("merge_peaks", "sheet"), ("check_inputs", "libraries"),
    ("check_inputs", "mpra"), ("check_inputs", "variant-sets"), ("extract_haplotypes", "windows"),
]  # fmt: skip


def _record(listing: Path, file: Path) -> None:
    """Make the recorded checksums those of a damaged file, as one who crafts it would."""
    from allelegro.io.checksums import sha256

    document = json.loads(listing.read_text())
    if file.name in document.get("checksums", {}):
        document["checksums"][file.name] = sha256(file)
    if file.name in document.get("sizes", {}):
        document["sizes"][file.name] = file.stat().st_size
    if file.name == "windows.bed" and "windows_sha256" in document:
        document["windows_sha256"] = sha256(file)
    listing.write_text(json.dumps(document))


def _read_haplotypes(folder: Path) -> None:
    import numpy as np

    from allelegro.genotype.store import HaplotypeStore
    from allelegro.genotype.summary import donor_table, summarise_windows

    store = HaplotypeStore(folder, verify=True)
    summarise_windows(store)
    donor_table(store)
    store.haplotypes(np.arange(len(store)), 0)
    for row in range(min(len(store.sequences), 20)):
        store.reference_positions(row)
    store.common_alleles(0, 200)


def _read_counts(folder: Path) -> None:
    import numpy as np

    from allelegro.procap.counts import CountsStore, library_sizes

    store = CountsStore.open(folder)
    for file in sorted(folder.iterdir()):
        if file.name != "metadata.json" and not file.name.startswith("."):
            store.checksum(file.name)
    store.counts()
    store.counts(max(store.width // 2, 1))
    store.profiles(np.arange(min(len(store.windows), 5)))
    library_sizes(store.libraries)


def _read_checkpoint(folder: Path) -> None:
    import numpy as np

    from allelegro.models.checkpoint import load_model

    model = load_model(folder)
    model.predict_log2(model.in_context(np.zeros((2, model.insert_width), np.uint8)))
