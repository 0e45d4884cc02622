"""A variant in an element is scored as training showed the element: as its haplotypes are in a store."""

from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest

from allelegro.cli.extract_haplotypes import app as extract
from allelegro.cli.score_variants import app as score_variants
from allelegro.effects.score_files import read_scores
from allelegro.genotype.store import HaplotypeStore
from allelegro.io.windows import WINDOW_COLUMNS, write_windows
from helpers.toy_variants import write_checkpoint, write_genome

WIDTH, WINDOW, CENTRE = 60, 100, 300  # input of the model, window, its centre (0-based)
SHAPES = {"snv": (1, 1), "deletion": (4, 1), "insertion": (1, 5), "mnv": (3, 3), "replacement": (2, 4)}
OFFSETS = [-49, -34, -31, -30, -27, -6, -3, -2, -1, 0, 1, 7, 27, 29, 31, 45]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Variants of each shape at each offset from a window's centre, each carried by one donor alone; all scored."""
    room = tmp_path_factory.mktemp("elements")
    genome = write_genome(room / "g.fa", {"chr1": 700})["chr1"]
    records = []
    for offset in OFFSETS:
        for shape, (before, after) in SHAPES.items():
            start = CENTRE + offset
            ref = genome[start : start + before]
            alt = {"deletion": ref[0], "insertion": ref + "GATC", "replacement": "ACGT"}.get(shape, "")
            alt = alt or ref.translate(str.maketrans("ACGT", "CGTA"))
            if len(alt) == after and alt != ref:
                records.append((start + 1, ref, alt))
    donors = [f"d{number}" for number in range(len(records))]
    lines = [
        "##fileformat=VCFv4.2", "##contig=<ID=chr1,length=700>", '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">',
        "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *donors]),
        *("\t".join(["chr1", str(pos), f"v{number}", ref, alt, ".", ".", ".", "GT",
                     *("1|1" if number == other else "0|0" for other in range(len(records)))])
          for number, (pos, ref, alt) in enumerate(records)),
    ]  # fmt: skip
    (room / "v.vcf").write_text("\n".join(lines) + "\n")
    pysam.tabix_index(str(room / "v.vcf"), preset="vcf", force=True, keep_original=True)
    rows = [("chr1", CENTRE - WINDOW // 2, CENTRE + WINDOW // 2, "w", 1.0, ".", 0)]
    write_windows(pd.DataFrame(rows, columns=WINDOW_COLUMNS), room / "w.bed")
    (room / "plain.bed").write_text(f"1\t{CENTRE - WINDOW // 2}\t{CENTRE + WINDOW // 2}\n")
    extract(
        ["--vcf", str(room / "v.vcf.gz"), "--fasta", str(room / "g.fa"), "--windows", str(room / "w.bed"),
         "--out", str(room / "store")], standalone_mode=False,
    )  # fmt: skip
    write_checkpoint(room / "m", WIDTH)
    return room


def scored(room: Path, *more: str, checkpoints: tuple[str, ...] = ("m",)) -> pd.DataFrame:
    given = [part for path in checkpoints for part in ("--checkpoint", str(room / path))]
    score_variants(
        [*given, "--variants", str(room / "v.vcf"), "--fasta", str(room / "g.fa"), "--out", str(room / "s.tsv"),
         "--precision", "fp32", "--device", "cpu", *more], standalone_mode=False,
    )  # fmt: skip
    return read_scores(room / "s.tsv")


def test_the_effect_is_that_of_the_haplotype_in_the_store(room: Path) -> None:
    scores = scored(room, "--windows", str(room / "w.bed"))
    store = HaplotypeStore(room / "store")
    model = write_checkpoint(room / "again", WIDTH)
    left = (WINDOW - WIDTH) // 2
    codes = store.distinct(0)[:, left : left + WIDTH]
    predicted = model.predict_log2(np.ascontiguousarray(codes))
    carried = predicted[store.index[0, :, 0]] - predicted[0]
    assert len(scores) == len(carried) > 60
    assert np.allclose(scores["effect_element"], carried, atol=1e-4)
    assert (np.abs(carried) > 1e-3).sum() > 40
    assert (scores["effect"] == scores["effect_element"]).all() and set(scores["view"]) == {"element"}
    assert (scores["distance"] == scores["pos"] - 1 - CENTRE).all() and set(scores["window"]) == {"w"}
    beyond = (scores["pos"] - 1 >= CENTRE + WIDTH // 2) | (
        scores["pos"] + scores["ref"].str.len() - 1 <= CENTRE - WIDTH // 2
    )
    assert beyond.any() and (scores["effect"][beyond] == 0).all()
    centred = scored(room)
    assert np.allclose(scores["effect_centred"], centred["effect"], atol=1e-6)
    assert set(centred["view"]) == {"centred"} and centred["effect_element"].isna().all()


def test_a_plain_bed_serves_and_variants_outside_it_are_centred(room: Path) -> None:
    named = scored(room, "--windows", str(room / "w.bed"))
    plain = scored(room, "--windows", str(room / "plain.bed"))
    assert set(plain["window"]) == {"1:251-350"}
    assert plain["effect"].tolist() == named["effect"].tolist()
    (room / "far.bed").write_text("chr1\t500\t600\tother\n")
    outside = scored(room, "--windows", str(room / "far.bed"))
    assert set(outside["view"]) == {"centred"} and set(outside["window"]) == {"."}
    assert outside["effect"].tolist() == outside["effect_centred"].tolist()


def test_the_effect_of_each_seed_is_told_and_their_spread(room: Path) -> None:
    for seed in (3, 5):
        for fold in (0, 1):
            write_checkpoint(room / f"e/{seed}-{fold}", WIDTH, seed=10 * seed + fold)
            config = room / f"e/{seed}-{fold}/model.json"
            config.write_text(
                config.read_text().replace('"training": {', f'"training": {{"seed": {seed}, "test_fold": {fold}, ')
            )
    windows = ("--windows", str(room / "w.bed"))
    together = scored(room, *windows, checkpoints=("e/3-0", "e/3-1", "e/5-0", "e/5-1"))
    each = {
        (seed, fold): scored(room, *windows, checkpoints=(f"e/{seed}-{fold}",))["effect"]
        for seed in (3, 5)
        for fold in (0, 1)
    }
    told = together["effect_by_seed"].str.split(";").map(lambda parts: dict(part.split(":") for part in parts))
    for seed in (3, 5):
        mean = (each[seed, 0] + each[seed, 1]) / 2
        assert np.allclose(told.map(lambda seeds, seed=seed: float(seeds[str(seed)])), mean, atol=1e-5)
    assert np.allclose(together["effect_sd_models"], np.std(list(each.values()), axis=0, ddof=1), atol=1e-5)
