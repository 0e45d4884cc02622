"""What a model saw: by place, by sequence, through every stage and every kind of start."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from allelegro.cli.score_variants import app
from allelegro.effects.benchmark import Points, flag_overlap
from allelegro.effects.score import score
from allelegro.effects.windows import Genome
from allelegro.errors import DataError
from allelegro.io.dna import reverse_complement
from allelegro.models.checkpoint import load_model, load_module
from allelegro.models.seen import FILE, Seen
from allelegro.training.cohort import load_cohort, places, reference_codes
from allelegro.training.evaluate import common_folds, input_of, without_seen_loci
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


def lentimpra(toy: Toy, path: Path, loci: list[int], *, coordinates: bool, width: int = 100) -> Path:
    """A training table with one element at each of these loci and at 60 other places, and none elsewhere."""
    cohort = load_cohort(toy.counts, toy.haplotypes, width, 120)
    inserts = np.concatenate([reference_codes(cohort, np.array(loci, int)), random_codes(60, width, 11)])
    own = places(cohort.windows.iloc[loci], width)
    elsewhere = table_of(["chrZ"] * 60, [300 * i for i in range(60)], [300 * i + width for i in range(60)])
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
    width = toy.sequences.shape[2]
    cohort = load_cohort(toy.counts, toy.haplotypes, width, 120)
    with path.open("w") as out:
        for number, (chrom, rows) in enumerate(cohort.windows.groupby("chrom")):
            contig = random_codes(1, int(rows["end"].max()) + 1500, 100 + number)[0]
            for locus, start in zip(rows.index, rows["start"], strict=True):
                contig[start : start + width] = reference_codes(cohort, np.array([locus]))[0]
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


# ------------------------------------------------------------------------------------------- who may score and evaluate


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Loci as wide as elements of lentiMPRA."""
    return make_toy(tmp_path_factory.mktemp("wide"), loci=24, width=240)


WIDE = replace(TUNING, input_width=200, max_shift=0)


def variants_at(toy: Toy, fasta: Path, offset: int) -> pd.DataFrame:
    """An SNV of each locus, so many bp right of its centre."""
    windows = load_cohort(toy.counts, toy.haplotypes, 200, 120).windows
    genome, middle = Genome(fasta), (windows["start"] + windows["end"]) // 2 + offset
    refs = ["ACGT"[genome.codes(chrom, at, at + 1)[0]] for chrom, at in zip(windows["chrom"], middle, strict=True)]
    alts = ["CGTA"["ACGT".index(ref)] for ref in refs]
    return pd.DataFrame({"chrom": windows["chrom"], "pos": middle + 1, "ref": refs, "alt": alts})


def scored_as_seen(toy: Toy, folder: Path, fasta: Path, checkpoint: Path, offset: int = 0) -> np.ndarray:
    """Which loci's variants a checkpoint scores and flags: training saw them."""
    variants_at(toy, fasta, offset).to_csv(folder / "v.tsv", sep="\t", index=False)
    scores = score(folder / "v.tsv", fasta, checkpoint, device="cpu", precision="fp32")
    assert (scores["status"] == "scored").all() and scores["effect"].notna().all()
    return (scores["seen"] == "yes").to_numpy()


def flagged_in_points(toy: Toy, fasta: Path, checkpoint: Path) -> list[str]:
    """What the benchmark says of the loci's variants."""
    points = Points(variants_at(toy, fasta, 0), [])
    flag_overlap(points, [checkpoint], [], Genome(fasta))
    return points.table["seen"].tolist()


@pytest.mark.parametrize("coordinates", [True, False])
def test_what_any_stage_saw_is_flagged_everywhere_and_left_out(
    wide: Toy, tmp_path: Path, coordinates: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A user's start, pretrained with and without coordinates on two loci of the test fold, fine-tuned here."""
    windows = load_cohort(wide.counts, wide.haplotypes, 200, 120).windows
    folds = windows["fold"].to_numpy()
    mine = [*np.flatnonzero(folds == 0)[:2], np.flatnonzero(folds == 2)[0]]
    table, fasta = tmp_path / "t.tsv", genome_of(wide, tmp_path / "genome.fa")
    pretrain(lentimpra(wide, table, mine, coordinates=coordinates, width=200), tmp_path / "start", PRETRAINING, "cpu")
    finetune(wide.counts, wide.haplotypes, tmp_path / "m", replace(WIDE, init=tmp_path / "start"), "cpu", None)
    by_start, by_both = np.isin(np.arange(24), mine), np.isin(np.arange(24), mine) | (folds != 0)
    for checkpoint, seen in ((tmp_path / "start", by_start), (tmp_path / "m", by_both)):
        np.testing.assert_array_equal(scored_as_seen(wide, tmp_path, fasta, checkpoint), seen)
        assert flagged_in_points(wide, fasta, checkpoint) == ["yes" if one else "no" for one in seen]
        assert not scored_as_seen(wide, tmp_path, fasta, checkpoint, 900).any()  # between the loci
    if coordinates:  # exact to the base: the sequence ends 100 bp from the centre
        assert [scored_as_seen(wide, tmp_path, fasta, tmp_path / "start", at)[mine].all() for at in (99, 100)] == [
            True,
            False,
        ]
    model = load_model(tmp_path / "m")
    cohorts = {input_of(model): load_cohort(wide.counts, wide.haplotypes, 200, 120)}
    folds_left = without_seen_loci(common_folds(cohorts[200, False], {"m": [model]}), {"m": [model]}, cohorts)
    np.testing.assert_array_equal(folds_left.loci("unseen_loci"), np.flatnonzero(folds == 0)[2:])
    assert "a stage of its training saw 2 of 6 loci of test fold 0" in caplog.text


def test_a_published_start_is_unknown_and_the_rest_is_seen(
    wide: Toy, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fasta, published = genome_of(wide, tmp_path / "genome.fa"), tmp_path / "published.ckpt"
    published.write_bytes(b"")
    own = write_checkpoint(tmp_path / "weights", 200).config  # its weights are not what is asked about
    monkeypatch.setattr(
        "allelegro.training.finetune.load_module", lambda path: (load_module(tmp_path / "weights")[0], own)
    )
    finetune(wide.counts, wide.haplotypes, tmp_path / "m", replace(WIDE, init=published), "cpu", None)
    folds = load_cohort(wide.counts, wide.haplotypes, 200, 120).windows["fold"].to_numpy()
    np.testing.assert_array_equal(scored_as_seen(wide, tmp_path, fasta, tmp_path / "m"), folds != 0)
    assert "m: what published.ckpt saw in training is unknown" in caplog.text
    assert flagged_in_points(wide, fasta, tmp_path / "m") == ["yes" if fold else "unknown" for fold in folds]


def test_a_start_of_an_earlier_version_says_what_it_held_out_through_fine_tuning(wide: Toy, tmp_path: Path) -> None:
    windows = load_cohort(wide.counts, wide.haplotypes, 200, 120).windows
    kept = windows[windows["fold"] == 0].iloc[:2]
    fasta, told = genome_of(wide, tmp_path / "genome.fa"), kept[["chrom", "start", "end"]].values.tolist()
    write_checkpoint(tmp_path / "earlier", 200, held_out_regions=told)
    finetune(wide.counts, wide.haplotypes, tmp_path / "m", replace(WIDE, init=tmp_path / "earlier"), "cpu", None)
    np.testing.assert_array_equal(
        scored_as_seen(wide, tmp_path, fasta, tmp_path / "m"), ~windows.index.isin(kept.index)
    )


def test_pairs_without_coordinates_are_compared_by_sequence(wide: Toy, tmp_path: Path) -> None:
    table = lentimpra(wide, tmp_path / "t.tsv", [0, 1], coordinates=True, width=200)
    pretrain(table, tmp_path / "start", PRETRAINING, "cpu")
    cohort = load_cohort(wide.counts, wide.haplotypes, 200, 120)
    refs = [LETTERS[codes].tobytes().decode() for codes in reference_codes(cohort, np.arange(4))]
    pairs = pd.DataFrame(
        {"ref_sequence": refs, "alt_sequence": [ref[:99] + "ACGT"["CGTA".index(ref[99])] + ref[100:] for ref in refs]}
    )
    pairs.to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    app(["--checkpoint", str(tmp_path / "start"), "--sequences", str(tmp_path / "pairs.tsv"), "--device", "cpu",
         "--out", str(tmp_path / "s.tsv")], standalone_mode=False)  # fmt: skip
    assert pd.read_csv(tmp_path / "s.tsv", sep="\t")["seen"].tolist() == ["yes"] * 2 + ["no"] * 2


def test_kmers_come_back_from_either_layout(tmp_path: Path) -> None:
    """All of them, and which belong to sequences without a place; files of an earlier version hold both lists."""
    codes = random_codes(40, 200)
    none: list[int | None] = [None] * 20
    places = table_of(["chr1"] * 20 + [None] * 20, [*range(0, 4000, 200), *none], [*range(200, 4200, 200), *none])
    seen = Seen.training(codes, places)
    assert 0 < len(seen.unplaced) < len(seen.kmers)
    seen.write(tmp_path / FILE)
    now = Seen.read(tmp_path)
    with np.load(tmp_path / FILE) as parts:
        old = {name: parts[name] for name in parts.files if name not in ("kmer_steps", "unplaced_bits")}
    np.savez_compressed(tmp_path / FILE, **old, kmers=seen.kmers, unplaced=seen.unplaced)
    for again in (now, Seen.read(tmp_path)):
        np.testing.assert_array_equal(again.kmers, seen.kmers)
        np.testing.assert_array_equal(again.unplaced, seen.unplaced)
        assert again.kmers.dtype == again.unplaced.dtype == np.uint32
