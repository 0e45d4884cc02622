"""Scores against an independent slow implementation, and every reason to drop a variant."""

import gzip
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest

from allelegro.cli.score_variants import app
from allelegro.effects.score_files import read_scores
from allelegro.effects.variants import REASONS, canonical_key
from allelegro.io.dna import decode, encode, reverse_complement
from allelegro.io.tables import GUESS, read_table
from allelegro.models.checkpoint import LoadedModel
from allelegro.models.inference import StrandPredictor
from helpers.toy_variants import ADAPTORS, write_checkpoint, write_fasta, write_genome, write_vcf

WIDTH = 60
CONTIGS = {"chr1": 900, "chr2": 700}


@pytest.fixture
def room(tmp_path: Path) -> Path:
    write_genome(tmp_path / "genome.fa", CONTIGS)
    return tmp_path


def genome_of(room: Path) -> dict[str, str]:
    with pysam.FastaFile(str(room / "genome.fa")) as fasta:
        return {name: fasta.fetch(name) for name in fasta.references}


def score(room: Path, *arguments: str, out: str = "scores.tsv") -> pd.DataFrame:
    app(["--out", str(room / out), "--device", "cpu", "--precision", "fp32", *arguments], standalone_mode=False)
    return read_scores(room / out)


def slow_log2(model: LoadedModel, sequence: str) -> float:
    return float(model.predict_log2(encode(sequence)[None])[0])


def slow_window(sequence: str, pos: int, ref: str, alt: str, width: int, shift: int = 0) -> tuple[str, str]:
    """Reference and alternative windows by string surgery on a contig padded with N."""
    pad = "N" * (2 * width)
    start = len(pad) + pos - 1 - width // 2 + shift
    whole = pad + sequence + pad
    at = len(pad) + pos - 1
    assert whole[at : at + len(ref)] == ref
    edited = whole[:at] + alt + whole[at + len(ref) :]
    return whole[start : start + width], edited[start : start + width]


def variant(genome: dict[str, str], chrom: str, pos: int, length: int = 1) -> str:
    return genome[chrom][pos - 1 : pos - 1 + length]


def other(base: str) -> str:
    return {"A": "C", "C": "G", "G": "T", "T": "A"}[base]


def mixed_records(genome: dict[str, str]) -> list[tuple[str, int, str, str, str]]:
    """SNVs, a deletion, an insertion, an MNV, and variants at both ends of a contig."""
    records = []
    for chrom, pos, length, change in [
        ("chr1", 5, 1, "snv"), ("chr1", 100, 1, "snv"), ("chr1", 101, 1, "snv"), ("chr1", 300, 4, "deletion"),
        ("chr1", 400, 1, "insertion"), ("chr1", 898, 1, "snv"), ("chr2", 50, 3, "mnv"), ("chr2", 600, 9, "deletion"),
    ]:  # fmt: skip
        ref = variant(genome, chrom, pos, length)
        changes = {
            "snv": other(ref[0]),
            "deletion": ref[0],
            "insertion": ref + "GATTACA",
            "mnv": "".join(map(other, ref)),
        }
        records.append((chrom, pos, f"v{pos}", ref, changes[change]))
    return records


def against_genome(room: Path, *arguments: str, out: str = "scores.tsv", checkpoint: str = "model") -> pd.DataFrame:
    given = ["--checkpoint", str(room / checkpoint), "--fasta", str(room / "genome.fa")]
    return score(room, *given, *arguments, out=out)


def test_snvs_and_indels_equal_string_surgery(room: Path) -> None:
    genome = genome_of(room)
    model = write_checkpoint(room / "model", WIDTH)
    records = mixed_records(genome)
    write_vcf(room / "v.vcf", CONTIGS, records)
    scores = against_genome(room, "--variants", str(room / "v.vcf"), "--edges", "pad")
    assert scores["pos"].tolist() == [record[1] for record in records]
    for (chrom, pos, _, ref, alt), row in zip(records, scores.itertuples(), strict=True):
        before, after = (slow_log2(model, text) for text in slow_window(genome[chrom], pos, ref, alt, WIDTH))
        assert row.ref_prediction == pytest.approx(before, abs=1e-4)
        assert row.effect == pytest.approx(after - before, abs=1e-4)
        assert abs(row.effect) > 1e-3


def test_ensemble_is_the_mean_over_models_strands_and_shifts(room: Path) -> None:
    genome = genome_of(room)
    models = [write_checkpoint(room / f"model{seed}", WIDTH, seed=seed) for seed in (1, 2)]
    record = ("chr1", 200, "v", genome["chr1"][199], other(genome["chr1"][199]))
    write_vcf(room / "v.vcf", CONTIGS, [record])
    given = ["--fasta", str(room / "genome.fa"), "--variants", str(room / "v.vcf")]
    given += ["--shift", "0", "--shift", "7", "--shift", "-3"]
    each = score(room, "--checkpoint", str(room / "model1"), "--checkpoint", str(room / "model2"), *given)
    pd.testing.assert_frame_equal(score(room, "--checkpoint", str(room), *given), each)  # a folder of checkpoints
    row = each.iloc[0]
    members = []
    for model in models:
        for shift in (0, 7, -3):
            pair = [encode(text)[None] for text in slow_window(genome["chr1"], 200, record[3], record[4], WIDTH, shift)]
            for turn in (lambda codes: codes, reverse_complement):
                ref, alt = (StrandPredictor(model, "fp32")(turn(codes), 0)[0] for codes in pair)
                members.append(alt - ref)
    assert row["effect"] == pytest.approx(np.mean(members), abs=1e-4)
    assert row["effect_sd"] == pytest.approx(np.std(members, ddof=1), abs=1e-4)
    assert (row["n_models"], row["n_predictions"]) == (2, 12)


def test_construct_context_puts_the_insert_between_adaptors(room: Path) -> None:
    genome = genome_of(room)
    model = write_checkpoint(room / "model", 90, context=ADAPTORS)
    ref = genome["chr1"][199]
    write_vcf(room / "v.vcf", CONTIGS, [("chr1", 200, "v", ref, other(ref))])
    row = against_genome(room, "--variants", str(room / "v.vcf")).iloc[0]
    before, after = slow_window(genome["chr1"], 200, ref, other(ref), 60)
    inserted = [slow_log2(model, ADAPTORS["left"] + text + ADAPTORS["right"]) for text in (before, after)]
    assert row["effect"] == pytest.approx(inserted[1] - inserted[0], abs=1e-4)
    plain = against_genome(room, "--variants", str(room / "v.vcf"), "--context", "genomic", out="g.tsv").iloc[0]
    before, after = slow_window(genome["chr1"], 200, ref, other(ref), 90)
    assert plain["effect"] == pytest.approx(slow_log2(model, after) - slow_log2(model, before), abs=1e-4)


def test_pairs_of_sequences_are_centred_within_random_sequence(room: Path) -> None:
    """Shorter ones within each of four sequences, the same for both alleles; the effect is the mean."""
    model = write_checkpoint(room / "model", WIDTH)
    rng = np.random.default_rng(3)
    short, long = ("".join(rng.choice(list("ACGT"), n)) for n in (51, 75))
    pairs = [
        (short, short[:20] + other(short[20]) + short[21:]),
        (short, short[:20] + "GG" + short[20:]),
        (long, long[:40] + long[43:]),
    ]
    pd.DataFrame(pairs, columns=["ref_sequence", "alt_sequence"]).to_csv(room / "p.tsv", sep="\t", index=False)
    scores = score(room, "--checkpoint", str(room / "model"), "--sequences", str(room / "p.tsv"))
    for (ref, alt), row in zip(pairs, scores.itertuples(), strict=True):
        offset = (WIDTH - len(ref)) // 2
        effects = []
        for number in range(4):
            around = decode(np.random.default_rng(number).integers(0, 4, WIDTH, np.uint8))
            inside = [around[: max(offset, 0)] + text[max(-offset, 0) :] for text in (ref, alt)]
            placed = [(text + around[len(text) :])[:WIDTH] for text in inside]
            effects.append(slow_log2(model, placed[1]) - slow_log2(model, placed[0]))
        assert row.effect == pytest.approx(np.mean(effects), abs=1e-4)


def test_a_reporter_table_with_sequences_is_scored_on_them(room: Path) -> None:
    """Its variants lie on no contig of the genome, and need not."""
    write_checkpoint(room / "model", WIDTH)
    rng = np.random.default_rng(4)
    ref = "".join(rng.choice(list("ACGT"), WIDTH))
    alt = ref[:30] + other(ref[30]) + ref[31:]
    row = ("chr9", 77, ref[30], alt[30], 0.5, ref, alt)
    columns = ["chr", "pos", "RefAllele", "AltAllele", "LogSkew.Comb", "ref_sequence", "alt_sequence"]
    pd.DataFrame([row], columns=columns).to_csv(room / "m.tsv", sep="\t", index=False)
    (scored,) = against_genome(room, "--variants", str(room / "m.tsv"), "--kind", "mpra").itertuples()
    (pair,) = score(
        room, "--checkpoint", str(room / "model"), "--sequences", str(room / "m.tsv"), out="p.tsv"
    ).itertuples()
    assert (scored.chrom, scored.pos) == ("chr9", 77)
    assert scored.effect == pair.effect != 0


def test_sliding_windows_stay_inside_an_element(room: Path) -> None:
    genome = genome_of(room)
    model = write_checkpoint(room / "model", WIDTH)
    ref = genome["chr1"][4]
    write_vcf(room / "v.vcf", CONTIGS, [("chr1", 5, "v", ref, other(ref))])
    row = against_genome(room, "--variants", str(room / "v.vcf"), "--edges", "slide").iloc[0]
    window = genome["chr1"][:WIDTH]
    changed = window[:4] + other(ref) + window[5:]
    assert row["effect"] == pytest.approx(slow_log2(model, changed) - slow_log2(model, window), abs=1e-4)


def test_every_reason_to_drop_is_counted_and_listed(room: Path) -> None:
    genome = genome_of(room)
    write_checkpoint(room / "model", WIDTH)
    good = genome["chr1"][99]
    table = pd.DataFrame(
        [
            ("1", 100, good, other(good)),  # without chr: found all the same
            ("1", 100, good, other(good)),
            ("chr1", 150, other(genome["chr1"][149]), "N"),
            ("chr1", 150, other(genome["chr1"][149]), genome["chr1"][149]),
            ("chr1", 160, "A", "*"), ("chr1", 161, "A", "<DEL>"), ("chr1", 162, "A", "."), ("chr1", 163, "A", "A"),
            ("chr1", 170, genome["chr1"][169:204], "A"),
            ("chr1", 2000, "A", "C"), ("chr7", 5, "A", "C"),
            ("chr2", 300, genome["chr2"][299], "-"), ("chr2", 310, genome["chr2"][309], other(genome["chr2"][309])),
        ],
        columns=["#CHROM", "Pos", "RefAllele", "ALT"],
    )  # fmt: skip
    table.to_csv(room / "v.tsv", sep="\t", index=False)
    lists = ("--dropped", str(room / "dropped.tsv"), "--counts", str(room / "counts.tsv"))
    scores = against_genome(room, "--variants", str(room / "v.tsv"), *lists)
    # One row a variant, in the order of the file; a variant that is listed twice is scored twice.
    assert scores[["chrom", "pos", "ref", "alt"]].to_numpy().tolist() == table.to_numpy().tolist()
    assert scores["status"].tolist() == [
        "scored", "scored", "not_acgt", "ref_mismatch", "spanning_deletion", "symbolic_allele", "no_alternative",
        "alt_equals_ref", "allele_longer_than_window", "beyond_contig_end", "contig_not_in_fasta", "scored", "scored",
    ]  # fmt: skip
    has_score = scores["status"] == "scored"
    assert (scores["effect"].notna() == has_score).all() and (scores["n_models"] == has_score).all()
    assert scores["effect"].iloc[0] == scores["effect"].iloc[1]
    assert scores["reason"].tolist() == ["" if status == "scored" else REASONS[status] for status in scores["status"]]
    listed = pd.read_csv(room / "dropped.tsv", sep="\t")["reason"].tolist()
    assert sorted(listed) == sorted(scores["status"][~has_score])
    counts = read_table(room / "counts.tsv", others=GUESS).set_index("status")
    assert counts["variants"].to_dict() == {"scored": 4} | dict.fromkeys(listed, 1)
    assert counts["reason"].fillna("").to_dict() == {"scored": ""} | {status: REASONS[status] for status in listed}


def test_deletion_spellings_agree(room: Path) -> None:
    genome = genome_of(room)
    write_checkpoint(room / "model", WIDTH)
    text = genome["chr1"]
    rows = [("chr1", 200, text[199:201], text[199]), ("chr1", 201, text[200], "-")]
    pd.DataFrame(rows, columns=["chrom", "pos", "ref", "alt"]).to_csv(room / "v.tsv", sep="\t", index=False)
    # The VCF's window is centred on its anchor base, one to the left: a shift of one brings the two together.
    anchored = against_genome(room, "--variants", str(room / "v.tsv"), "--shift", "1")
    plain = against_genome(room, "--variants", str(room / "v.tsv"), out="b.tsv")
    assert anchored["effect"].iloc[0] == pytest.approx(plain["effect"].iloc[1], abs=1e-4)
    assert canonical_key(anchored)[0] == canonical_key(plain)[1]


def test_held_out_chromosomes_and_regions_decide_who_scores(room: Path) -> None:
    genome = genome_of(room)
    write_checkpoint(room / "a", WIDTH, seed=1, held_out_chromosomes=["chr1"])
    write_checkpoint(
        room / "b", WIDTH, seed=2, held_out_regions=[["chr1", 150, 160], ["chr1", 100, 400], ["chr2", 0, 60]]
    )
    records = [
        (c, p, ".", genome[c][p - 1], other(genome[c][p - 1]))
        for c, p in [("chr1", 90), ("chr1", 300), ("chr2", 50), ("chr2", 500)]
    ]
    write_vcf(room / "v.vcf", CONTIGS, records)
    both = [
        "--checkpoint",
        str(room / "a"),
        "--checkpoint",
        str(room / "b"),
        "--fasta",
        str(room / "genome.fa"),
        "--variants",
        str(room / "v.vcf"),
    ]
    scores = score(room, *both)
    assert list(zip(scores["pos"], scores["n_models"], strict=True)) == [(90, 1), (300, 2), (50, 1), (500, 2)]
    assert scores["seen"].tolist() == ["no"] * 3 + ["yes"]
    assert (scores["status"] == "scored").all()
    by_all = score(room, *both, "--all-models", out="all.tsv")
    assert by_all["n_models"].tolist() == [2, 2, 2, 2]
    assert by_all["seen"].tolist() == ["yes", "no", "yes", "yes"]
    np.testing.assert_allclose(by_all["effect"].iloc[[1, 3]], scores["effect"].iloc[[1, 3]], rtol=1e-3)


def test_annotated_vcf_declares_its_fields_and_keeps_alleles_apart(room: Path) -> None:
    genome = genome_of(room)
    write_checkpoint(room / "model", WIDTH)
    ref = genome["chr1"][199]
    alts = "ACGT".replace(ref, "")
    records = [
        ("chr1", 100, "skip", other(genome["chr1"][99]), "N"),
        ("chr1", 200, "multi", ref, f"{alts[0]},*,{alts[1]}"),
    ]
    write_vcf(room / "v.vcf", CONTIGS, records)
    scores = against_genome(
        room, "--variants", str(room / "v.vcf"), "--name", "my-net", "--out-vcf", str(room / "o.vcf.gz")
    )
    with pysam.VariantFile(str(room / "o.vcf.gz")) as annotated:
        assert annotated.header.info["my_net_effect"].number == "A"
        first, second = list(annotated)
    assert dict(first.info) == {"my_net_status": ("not_acgt",)}
    assert second.info["my_net_status"] == ("scored", "spanning_deletion", "scored")
    effects = second.info["my_net_effect"]
    assert effects[1] is None
    assert [effects[0], effects[2]] == pytest.approx(scores["effect"].iloc[[1, 3]].tolist(), rel=1e-4)


def test_parquet_shards_and_plain_text_agree(room: Path) -> None:
    genome = genome_of(room)
    write_checkpoint(room / "model", WIDTH)
    rows = [("chr1", p, genome["chr1"][p - 1], other(genome["chr1"][p - 1])) for p in range(40, 860)]
    pd.DataFrame(rows, columns=["chrom", "pos", "ref", "alt"]).to_csv(room / "v.tsv", sep="\t", index=False)
    given = ("--variants", str(room / "v.tsv"))
    whole = against_genome(room, *given)
    table = against_genome(room, *given, out="s.parquet")
    assert np.allclose(table["effect"], whole["effect"], atol=1e-4)
    assert table["status"].tolist() == whole["status"].tolist()
    shards = [against_genome(room, *given, "--shard", f"{i}/5", out=f"{i}.tsv") for i in (1, 2, 3, 4)]
    gathered = pd.concat(shards).sort_values("pos", ignore_index=True)
    assert np.allclose(gathered["effect"], whole["effect"], atol=1e-4)
    against = ["--checkpoint", str(room / "model"), "--fasta", str(room / "genome.fa"), *given, "--shard", "5/5"]
    app(["--out", str(room / "5.tsv"), "--device", "cpu", *against], standalone_mode=False)
    assert (room / "5.tsv").read_text().startswith("chrom\tpos\tref\talt\tid\tmodel\teffect")


def test_several_models_score_a_set_in_one_go(room: Path) -> None:
    """Each as alone; one table of counts, one annotated VCF for all."""
    genome = genome_of(room)
    for seed, name in enumerate(("a", "b1", "b2")):
        write_checkpoint(
            room / name, WIDTH, seed=seed, held_out_chromosomes=["chr1"] if name == "a" else ["chr1", "chr2"]
        )
    records = [(c, p, ".", genome[c][p - 1], other(genome[c][p - 1])) for c, p in [("chr1", 90), ("chr2", 50)]]
    write_vcf(room / "v.vcf", CONTIGS, records)
    given = [
        "--fasta",
        str(room / "genome.fa"),
        "--variants",
        str(room / "v.vcf"),
        "--device",
        "cpu",
        "--precision",
        "fp32",
    ]
    models = [
        part for name, path in (("a", "a"), ("b", "b1"), ("b", "b2")) for part in ("--model", f"{name}={room / path}")
    ]
    app(
        [*given, *models, "--out", str(room / "s.{model}.tsv"), "--counts", str(room / "counts.tsv"), "--out-vcf",
         str(room / "o.vcf")], standalone_mode=False,
    )  # fmt: skip
    alone = score(room, *given[:4], "--checkpoint", str(room / "b1"), "--checkpoint", str(room / "b2"), "--name", "b")
    pd.testing.assert_frame_equal(read_scores(room / "s.b.tsv"), alone)
    counts = pd.read_csv(room / "counts.tsv", sep="\t")[["model", "status", "variants"]].to_numpy().tolist()
    assert counts == [["a", "scored", 2], ["a", "seen", 1], ["b", "scored", 2]]
    with pysam.VariantFile(str(room / "o.vcf")) as annotated:
        second = list(annotated)[1]
    assert second.info["a_status"] == ("scored",) and second.info["a_seen"] == ("yes",)
    assert "b_seen" not in second.info
    assert second.info["b_effect"][0] == pytest.approx(alone["effect"].iloc[1], rel=1e-4)


@contextmanager
def refused(capsys: pytest.CaptureFixture[str], message: str) -> Iterator[None]:
    """The tool stops with status 1 and one line that says ``message``."""
    with pytest.raises(SystemExit) as stopped:
        yield
    assert stopped.value.code == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ") and re.search(message, last), last


BAD = {
    "nothing there": ("", "no such file"),
    "empty": ("", "the file is empty"),
    "header only": ("chrom\tpos\tref\talt\n", "no variants"),
    "no ref": ("chrom\tpos\talt\nchr1\t5\tA\n", "column ref .*is missing"),
    "bad position": (
        "chrom\tpos\tref\talt\nchr1\t5\tA\tC\nchr1\tx\tA\tC\n",
        r"row 2 \(line 3\), column pos: 'x' is not a",
    ),
    "other contigs": ("chrom\tpos\tref\talt\nchr9\t5\tA\tC\n", "contig chr9 of the variants is not in the FASTA"),
    "one REF wrong": ("", "REF of 1 of the first 1 variants is not in the FASTA"),
    "all dropped": ("chrom\tpos\tref\talt\nchr1\t5\tA\t*\n", "no variant was left to score"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line_and_leaves_nothing(
    room: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint(room / "model", WIDTH)
    text, message = BAD[case]
    if case == "one REF wrong":
        wrong = other(genome_of(room)["chr1"][99])
        text = f"chrom\tpos\tref\talt\nchr1\t100\t{wrong}\t{genome_of(room)['chr1'][99]}\n"
    if case != "nothing there":
        (room / "v.tsv").write_text(text)
    with refused(capsys, message):
        against_genome(room, "--variants", str(room / "v.tsv"), "--dropped", str(room / "dropped.tsv"))
    assert not list(room.glob("*scores*")) and not list(room.glob("*dropped*"))


@pytest.mark.parametrize("suffix", ["vcf.gz", "tsv.gz"])
def test_truncated_files_are_named(room: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    genome = genome_of(room)
    write_checkpoint(room / "model", WIDTH)
    rows = [
        ("chr1", p, f"name{p * 7919 % 1013}", genome["chr1"][p - 1], other(genome["chr1"][p - 1]))
        for p in range(40, 860)
    ]
    if suffix == "vcf.gz":
        write_vcf(room / "v.vcf", CONTIGS, rows)
        pysam.tabix_compress(str(room / "v.vcf"), str(room / "v.vcf.gz"))
    else:
        pd.DataFrame(rows, columns=["chrom", "pos", "id", "ref", "alt"]).to_csv(
            room / "v.tsv.gz", sep="\t", index=False
        )
    whole = (room / f"v.{suffix}").read_bytes()
    (room / f"v.{suffix}").write_bytes(whole[: len(whole) // 2])
    with refused(capsys, rf"v\.{suffix}.*(truncated|not a whole)"):
        against_genome(room, "--variants", str(room / f"v.{suffix}"))
    assert not (room / "scores.tsv").exists()


def test_unknown_bases_in_the_window_are_counted_and_named(room: Path, caplog: pytest.LogCaptureFixture) -> None:
    genome = genome_of(room)
    text = genome["chr1"][:300] + "N" * 7 + genome["chr1"][307:]
    write_fasta(room / "genome.fa", {"chr1": text})
    write_checkpoint(room / "model", WIDTH)
    rows = [("chr1", pos, text[pos - 1], other(text[pos - 1])) for pos in (100, 290, 336, 337)]
    pd.DataFrame(rows, columns=["chrom", "pos", "ref", "alt"]).to_csv(room / "v.tsv", sep="\t", index=False)
    with caplog.at_level("INFO"):
        scores = against_genome(room, "--variants", str(room / "v.tsv"))
    # Windows are [pos - 31, pos + 29) from 0: the last two reach two N and one.
    assert scores["n_unknown"].tolist() == [0, 7, 2, 1]
    assert "3 variants have N in their window" in caplog.text


def test_contig_names_and_repeats_across_a_truth_table_and_its_scores(
    room: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Scores of ``chr1`` meet a truth table of ``1``; a variant that is listed twice counts once, and is said."""
    from allelegro.cli.benchmark_variants import app as benchmark

    genome = genome_of(room)
    write_checkpoint(room / "model", WIDTH)
    rows = [("1", pos, genome["chr1"][pos - 1], other(genome["chr1"][pos - 1]), pos % 7 - 3) for pos in range(50, 90)]
    truth = pd.DataFrame([*rows, rows[0]], columns=["chrom", "pos", "ref", "alt", "measured"])
    truth.to_csv(room / "t.tsv", sep="\t", index=False)
    given = ["--truth", str(room / "t.tsv"), "--kind", "table", "--dataset", "d", "--out", str(room / "m.tsv"),
             "--points", str(room / "p.tsv.gz"), "--n-boot", "100"]  # fmt: skip
    against_genome(room, "--variants", str(room / "t.tsv"))
    scores = pd.read_csv(room / "scores.tsv", sep="\t").assign(chrom="chr1")
    pd.concat([scores, scores.head(3)]).to_csv(room / "s.tsv", sep="\t", index=False)
    with caplog.at_level("INFO"):
        benchmark([*given, "--scores", str(room / "s.tsv")], standalone_mode=False)
    assert len(pd.read_csv(room / "p.tsv.gz", sep="\t")) == 40
    assert "4 repeated variants of model" in caplog.text and "duplicate 1" in caplog.text


BAD_SCORES = {
    "header only": (lambda t: t.head(0), "s.tsv", "header but no rows"),
    "header only Parquet": (lambda t: t.head(0), "s.parquet", "header but no rows"),
    "no effect": (lambda t: t.drop(columns="effect"), "s.parquet", "column effect is missing"),
    "bad position": (lambda t: t.assign(pos=[5, "x"]), "s.tsv", r"row 2 \(line 3\), column pos: 'x' is not a"),
    "other alleles": (lambda t: t.assign(ref=t["alt"], alt=t["ref"]), "s.tsv", "none of its variants was measured"),
    "another place": (lambda t: t.assign(pos=t["pos"] + 1), "s.tsv", r"none of its variants .* 1:50 .* 1:51"),
    "cut": (lambda t: t, "cut.parquet", "not a whole Parquet file"),
}


@pytest.mark.parametrize("case", BAD_SCORES)
def test_scores_that_do_not_fit_the_truth_are_one_clear_line(
    tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from allelegro.cli.benchmark_variants import app as benchmark

    change, name, message = BAD_SCORES[case]
    table = pd.DataFrame({"chrom": "1", "pos": [50, 60], "ref": "A", "alt": "C", "measured": [1.0, -1.0]})
    table.to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    scores = change(table.assign(id=".", model="m", effect=0.5))
    if name.endswith(".parquet"):
        scores.to_parquet(tmp_path / name)
        if case == "cut":
            (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-50])
    else:
        scores.to_csv(tmp_path / name, sep="\t", index=False)
    with refused(capsys, message):
        benchmark(
            ["--scores", str(tmp_path / name), "--truth", str(tmp_path / "t.tsv"), "--kind", "table", "--dataset", "d",
             "--out", str(tmp_path / "m.tsv"), "--points", str(tmp_path / "p.tsv.gz")], standalone_mode=False,
        )  # fmt: skip
    assert not (tmp_path / "m.tsv").exists() and not (tmp_path / "p.tsv.gz").exists()


ODD_VCF = """##fileformat=VCFv4.2
##contig=<ID=chr1,length=900>
##INFO=<ID=AF,Number=A,Type=Float,Description="f">
##FILTER=<ID=q10,Description="q">
##ALT=<ID=DEL,Description="d">
#CHROM	POS	ID	REF	ALT	QUAL	FILTER	INFO
chr1	100	rs1	{r100}	{a100}	.	q10	AF=0.12345678901
chr1	100	again	{r100}	{a100}	.	PASS	AF=0.5;OWN;X=1e-07
chr1	150	sv	{r150}	<DEL>	30.00	PASS	.
chr1	200	both	{r200}	{a200},<DEL>,{a200}	.	.	AF=0.10,0.20,.
chr1	300	none	{r300}	.	.	.	.
chr9	5	elsewhere	A	C	.	.	NOTE=x
"""


@pytest.mark.parametrize("target", ["o.vcf", "o.vcf.gz", "o.bcf"])
def test_an_annotated_vcf_keeps_everything_else(room: Path, target: str) -> None:
    """INFO as it was written, symbolic alleles without END, repeated records and alleles, contigs that no line declares."""
    text = genome_of(room)["chr1"]
    letters = {f"r{pos}": text[pos - 1] for pos in (100, 150, 200, 300)}
    letters |= {f"a{pos}": other(text[pos - 1]) for pos in (100, 200)}
    given = ODD_VCF.format(**letters)
    if target == "o.bcf":  # which holds only what its header declares
        given = given.replace(";OWN;X=1e-07", "").replace("chr9", "chr1").replace("A\tC\t.\t.\tNOTE=x", "N\tC\t.\t.\t.")
    (room / "v.vcf").write_text(given)
    write_checkpoint(room / "model", WIDTH)
    scores = against_genome(room, "--variants", str(room / "v.vcf"), "--name", "m", "--out-vcf", str(room / target))
    if target == "o.bcf":
        with pysam.VariantFile(str(room / target)) as annotated:
            lines = [str(record).rstrip("\n") for record in annotated]
    else:
        whole = (room / target).read_bytes()
        whole = gzip.decompress(whole) if target.endswith(".gz") else whole
        lines = [line for line in whole.decode().splitlines() if not line.startswith("#")]
        without = [re.sub(r";?\bm_(effect|sd|alt|ref|status)=[^;\t]+", "", line) for line in lines]
        without = [re.sub(r"\t$", "\t.", line) for line in without]
        expected = [line for line in given.splitlines() if not line.startswith("#")]
        assert without == expected
    infos = [dict(re.findall(r"(m_\w+)=([^;\t]+)", line)) for line in lines]
    assert ["m_effect" in info for info in infos] == [True, True, False, True, False, False]
    assert [info["m_status"] for info in infos] == [
        "scored", "scored", "symbolic_allele", "scored,symbolic_allele,scored", "no_alternative",
        "not_acgt" if target == "o.bcf" else "contig_not_in_fasta",
    ]  # fmt: skip
    assert len(scores) == 8
    assert float(infos[0]["m_effect"]) == pytest.approx(scores["effect"].iloc[0], rel=1e-4)
    assert infos[1] == infos[0]
    both = infos[3]["m_effect"].split(",")
    assert both[0] == both[2] != "." == both[1]


def test_a_bcf_that_cannot_hold_a_record_is_refused(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ref = genome_of(room)["chr1"][99]
    write_vcf(room / "v.vcf", CONTIGS, [("chr1", 100, "v", ref, other(ref))])
    (room / "v.vcf").write_text((room / "v.vcf").read_text().replace("\t.\n", "\tX=1\n"))
    write_checkpoint(room / "model", WIDTH)
    with refused(capsys, "no BCF can be written: the header lacks a contig or INFO field of a record"):
        against_genome(room, "--variants", str(room / "v.vcf"), "--out-vcf", str(room / "o.bcf"))
    assert not list(room.glob("*o.*cf"))


def test_fields_of_the_user_are_never_replaced(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ref = genome_of(room)["chr1"][99]
    write_vcf(room / "v.vcf", CONTIGS, [("chr1", 100, "v", ref, other(ref))])
    write_checkpoint(room / "model", WIDTH)
    against_genome(room, "--variants", str(room / "v.vcf"), "--name", "m", "--out-vcf", str(room / "o.vcf"))
    with refused(capsys, r"o\.vcf: INFO m_… is there already; give the model another --name"):
        against_genome(room, "--variants", str(room / "o.vcf"), "--name", "m", "--out-vcf", str(room / "p.vcf"))
    assert not (room / "p.vcf").exists()
