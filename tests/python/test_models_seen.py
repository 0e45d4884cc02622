"""What a model saw: by place, by sequence, through every stage and every kind of start."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from allelegro.errors import DataError
from allelegro.io.dna import reverse_complement
from allelegro.models.checkpoint import load_model
from allelegro.models.seen import FILE, Seen
from allelegro.training.cohort import load_cohort, places, reference_codes
from allelegro.training.finetune import finetune
from allelegro.training.mpra import genomic, like_windows, on_genome
from allelegro.training.pretrain import pretrain
from allelegro.training.settings import LEFT_ADAPTOR, RIGHT_ADAPTOR, FinetuneSettings, PretrainSettings
from helpers.toy_stores import Toy, make_toy
from helpers.toy_variants import write_checkpoint

torch.set_num_threads(1)
LETTERS = np.frombuffer(b"ACGT", np.uint8)
TUNING = FinetuneSettings(
    preset="tiny", input_width=100, target_width=120, epochs=1, batch_loci=16, max_shift=2, test_donor_fraction=0.25
)


def random_codes(n: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (n, width), np.uint8)


def table_of(chrom: list[str | None], start: list[int | None], end: list[int | None]) -> pd.DataFrame:
    return pd.DataFrame({"chrom": chrom, "start": start, "end": end})


def asked(seen: Seen, chrom: str, start: int, end: int, codes: np.ndarray | None = None) -> bool:
    place = table_of([chrom], [start], [end])
    return bool(seen.saw(place["chrom"], place["start"], place["end"], codes)[0])


def test_places_are_exact_to_the_base_and_chromosomes_have_two_names() -> None:
    seen = Seen.training(random_codes(3, 200), table_of(["chr1", "1", "chr2"], [100, 250, 0], [300, 450, 200]))
    assert [asked(seen, "1", at, at + 1) for at in (99, 100, 449, 450)] == [False, True, True, False]
    assert asked(seen, "chr1", 90, 101) and not asked(seen, "chr1", 90, 100)
    assert not asked(seen, "chr3", 0, 1000)
    assert not seen.by_sequence


def test_sequences_without_places_are_found_anywhere_on_either_strand() -> None:
    codes = random_codes(4, 200)
    seen = Seen.training(codes, table_of(["chr1", None, None, None], [0, None, None, None], [200, None, None, None]))
    assert seen.by_sequence
    with pytest.raises(ValueError, match="give the sequences"):
        asked(seen, "chr9", 0, 1)
    changed = codes[1].copy()
    changed[100] = (changed[100] + 1) % 4
    half = np.concatenate([codes[2][100:], random_codes(1, 100, 5)[0]])
    for like in (codes[1], changed, reverse_complement(codes[3]), half):
        assert asked(seen, "chr9", 0, 1, like[None])
    # A sequence whose place is known is told by its place, unless it is asked by sequence alone.
    assert not asked(seen, "chr9", 0, 1, codes[:1])
    np.testing.assert_array_equal(seen.saw_sequences(np.stack([codes[0], random_codes(1, 200, 6)[0]])), [True, False])


def test_unrelated_sequences_are_not_alike_among_many() -> None:
    seen = Seen.training(random_codes(20_000, 200), None)
    assert not seen.saw_sequences(random_codes(2000, 230, 7)).any()


def test_it_is_written_and_read_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    seen = Seen.training(
        random_codes(5, 60), table_of(["chr1"] * 4 + [None], [0, 50, 300, 9, 1], [60, 110, 360, 69, 2])
    )
    (tmp_path / "m").mkdir()
    seen.plus(Seen.untold("a.ckpt")).write(tmp_path / "m" / FILE)
    again = Seen.read(tmp_path / "m")
    pd.testing.assert_frame_equal(again.regions, seen.regions)
    np.testing.assert_array_equal(again.kmers, seen.kmers)
    np.testing.assert_array_equal(again.unplaced, seen.unplaced)
    assert again.unknown == ("a.ckpt",)
    (tmp_path / "m" / FILE).write_bytes((tmp_path / "m" / FILE).read_bytes()[:-30])
    with pytest.raises(DataError, match=r"seen\.npz: not readable"):
        Seen.read(tmp_path / "m")


def test_checkpoints_that_do_not_say_and_those_of_an_earlier_version(tmp_path: Path) -> None:
    assert write_checkpoint(tmp_path / "silent").seen.unknown == ("silent",)
    earlier = write_checkpoint(tmp_path / "earlier", held_out_regions=[["chr1", 0, 100]])
    assert not earlier.seen.unknown
    assert [asked(earlier.seen, "chr1", at, at + 1) for at in (99, 100)] == [False, True]
    (tmp_path / "published.ckpt").write_bytes(b"")
    assert Seen.read(tmp_path / "published.ckpt").unknown == ("published.ckpt",)


# ------------------------------------------------------------------------------------------------- routes of training


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("toy"))


def lentimpra(toy: Toy, path: Path, loci: list[int], *, coordinates: bool) -> Path:
    """A training table with one element at each of these loci and at 60 other places, and none elsewhere."""
    cohort = load_cohort(toy.counts, toy.haplotypes, 100, 120)
    inserts = np.concatenate([reference_codes(cohort, np.array(loci, int)), random_codes(60, 100, 11)])
    own = places(cohort.windows.iloc[loci], 100)
    elsewhere = table_of(["chrZ"] * 60, [200 * i for i in range(60)], [200 * i + 100 for i in range(60)])
    table = pd.concat([own, elsewhere], ignore_index=True)
    rows = np.arange(len(table))
    table.insert(0, "seq_id", [f"e{i}" for i in rows])
    table["seq"] = [LEFT_ADAPTOR + LETTERS[codes].tobytes().decode() + RIGHT_ADAPTOR for codes in inserts]
    table["mean_value"] = np.random.default_rng(0).normal(size=len(rows))
    table["fold_num"], table["rev"], table["group"] = rows % 3 + 1, 0, rows
    if not coordinates:
        table = table.drop(columns=["chrom", "start", "end"])
    table.to_csv(path, sep="\t", index=False)
    return path


def genome_of(toy: Toy, path: Path) -> Path:
    """A genome that has the toy's windows where its windows.bed says, and random sequence elsewhere."""
    cohort = load_cohort(toy.counts, toy.haplotypes, 120, 120)
    with path.open("w") as out:
        for number, (chrom, rows) in enumerate(cohort.windows.groupby("chrom")):
            contig = random_codes(1, int(rows["end"].max()) + 50, 100 + number)[0]
            for locus, start in zip(rows.index, rows["start"], strict=True):
                contig[start : start + 120] = reference_codes(cohort, np.array([locus]))[0]
            out.write(f">{chrom}\n{LETTERS[contig].tobytes().decode()}\n")
    return path


PRETRAINING = PretrainSettings(None, 1, preset="tiny", epochs=1, batch_size=16, max_lr=0.001)


def seen_loci(toy: Toy, checkpoint: Path) -> np.ndarray:
    """Which loci a checkpoint says that it saw, asked in two ways: a base in the middle, and the model's window."""
    cohort = load_cohort(toy.counts, toy.haplotypes, 100, 120)
    every = np.arange(len(cohort.windows))
    model, codes = load_model(checkpoint), reference_codes(cohort, every)
    answers = []
    for width in (2, 100):
        where = places(cohort.windows, width)
        answers.append(model.saw(where["chrom"], where["start"], where["end"], codes))
    np.testing.assert_array_equal(*answers)
    return answers[0]


@pytest.mark.parametrize("coordinates", [True, False])
def test_what_pretraining_saw_goes_through_fine_tuning(toy: Toy, tmp_path: Path, coordinates: bool) -> None:
    """A user's start that saw some held-out loci, with and without coordinates in its table."""
    folds = load_cohort(toy.counts, toy.haplotypes, 100, 120).windows["fold"].to_numpy()
    mine = [*np.flatnonzero(folds == 0)[:4], np.flatnonzero(folds == 2)[0]]
    table = lentimpra(toy, tmp_path / "t.tsv", mine, coordinates=coordinates)
    pretrain(table, tmp_path / "start", PRETRAINING, "cpu")
    trained = np.isin(np.arange(60), mine)
    np.testing.assert_array_equal(seen_loci(toy, tmp_path / "start"), trained)
    options = replace(TUNING, init=tmp_path / "start", input_width=None, max_shift=0)
    finetune(toy.counts, toy.haplotypes, tmp_path / "tuned", replace(options, input_width=100), "cpu", None)
    np.testing.assert_array_equal(seen_loci(toy, tmp_path / "tuned"), trained | (folds != 0))
    said = json.loads((tmp_path / "tuned" / "model.json").read_text())["training"]
    assert said["held_out_chromosomes"] is None
    assert len(said["held_out_regions"]) == (folds == 0).sum() - 4
    # And a third stage that holds out another fold.
    again = replace(options, init=tmp_path / "tuned", input_width=100, test_fold=1, validation_fold=2)
    finetune(toy.counts, toy.haplotypes, tmp_path / "again", again, "cpu", None)
    assert seen_loci(toy, tmp_path / "again").all()


def test_fine_tuning_alone_saw_all_but_its_test_fold(toy: Toy, tmp_path: Path) -> None:
    finetune(toy.counts, toy.haplotypes, tmp_path / "m", TUNING, "cpu", None)
    folds = load_cohort(toy.counts, toy.haplotypes, 100, 120).windows["fold"].to_numpy()
    np.testing.assert_array_equal(seen_loci(toy, tmp_path / "m"), folds != 0)
    model = load_model(tmp_path / "m")
    window = places(pd.read_csv(toy.counts / "windows.bed", sep="\t").rename(columns={"#chrom": "chrom"}), 104)
    edge = window[(folds != 0)].head(1)  # the model's 100 bp and its shifts of 2 bp
    for start, expected in ((edge["start"], True), (edge["end"] - 1, True), (edge["end"], False)):
        assert model.saw(edge["chrom"], start, start + 1)[0] == expected


def test_a_start_that_does_not_say_is_named(toy: Toy, tmp_path: Path) -> None:
    finetune(toy.counts, toy.haplotypes, tmp_path / "start", TUNING, "cpu", None)
    shutil.copytree(tmp_path / "start", tmp_path / "silent")
    document = json.loads((tmp_path / "silent" / "model.json").read_text())
    del document["checksums"][FILE]
    document["training"] |= {"held_out_chromosomes": None, "held_out_regions": None}
    (tmp_path / "silent" / "model.json").write_text(json.dumps(document))
    (tmp_path / "silent" / FILE).unlink()
    finetune(toy.counts, toy.haplotypes, tmp_path / "m", replace(TUNING, init=tmp_path / "silent"), "cpu", None)
    model = load_model(tmp_path / "m")
    assert model.seen.unknown == ("silent",)
    assert model.config["training"]["overlap_unknown"]


@pytest.mark.parametrize("coordinates", ["right", "another assembly", "none"])
def test_held_out_windows_are_found_by_sequence_where_places_say_nothing(
    toy: Toy, tmp_path: Path, coordinates: str
) -> None:
    cohort = load_cohort(toy.counts, toy.haplotypes, 100, 120)
    mine = list(range(0, 60, 3))
    path = lentimpra(toy, tmp_path / "t.tsv", mine, coordinates=coordinates != "none")
    if coordinates == "another assembly":
        table = pd.read_csv(path, sep="\t")
        table[["start", "end"]] += 1000
        table.to_csv(path, sep="\t", index=False)
    settings = replace(
        PRETRAINING,
        held_out_windows=(toy.counts / "windows.bed",),
        genome=genome_of(toy, tmp_path / "genome.fa"),
    )
    pretrain(path, tmp_path / "m", settings, "cpu")
    folds = cohort.windows["fold"].to_numpy()
    expected = np.isin(np.arange(60), mine) & ~np.isin(folds, [0, 1])
    np.testing.assert_array_equal(seen_loci(toy, tmp_path / "m"), expected)
    assert load_model(tmp_path / "m").seen.by_sequence == (coordinates != "right")


def test_coordinates_of_another_assembly_are_told_by_the_sequences(toy: Toy, tmp_path: Path) -> None:
    genome = genome_of(toy, tmp_path / "genome.fa")
    table = pd.read_csv(lentimpra(toy, tmp_path / "t.tsv", list(range(60)) * 2, coordinates=True), sep="\t")
    assert "chrom" in on_genome(table, genome, Path("t.tsv"))
    moved = table.assign(start=table["start"] + 300, end=table["end"] + 300)
    assert "chrom" not in on_genome(moved, genome, Path("t.tsv"))
    windows = load_cohort(toy.counts, toy.haplotypes, 100, 120).windows
    found = like_windows(table, windows.iloc[:10], genome)
    np.testing.assert_array_equal(found, np.r_[np.arange(60) < 10, np.arange(60) < 10, np.zeros(60, bool)])
    assert genomic(table).shape == (180, 100)
