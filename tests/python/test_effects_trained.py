"""The models in the box, from Python and the command line: effects of alleles given as sequences or in a genome."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import allelegro as al
from allelegro.effects.windows import sequence_pairs
from allelegro.io.dna import decode, encode
from allelegro.models.box import box, find_model
from allelegro.models.checkpoint import load_model
from allelegro.models.config import read_config
from allelegro.models.seen import Seen
from helpers.tools import run
from helpers.toy_variants import ADAPTORS, write_checkpoint, write_genome, write_vcf

LENTIMPRA = box()["lentimpra"]
ONE = sorted(LENTIMPRA.glob("test*"))[0]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def sequences(n: int, width: int, seed: int = 0) -> list[str]:
    return [decode(row) for row in np.random.default_rng(seed).integers(0, 4, (n, width), np.uint8)]


def changed(sequence: str, place: int) -> str:
    return sequence[:place] + {"A": "C", "C": "G", "G": "T", "T": "A"}[sequence[place]] + sequence[place + 1 :]


def test_effects_are_those_of_constructs_with_the_real_adaptors() -> None:
    """An insert of full length between the adaptors of the assay, both strands, the mean of outputs and networks."""
    ref = sequences(3, 200)
    alt = [changed(sequence, 90) for sequence in ref]
    model = al.load(ONE, device="cpu", precision="fp32")
    assert model.width == 200
    network = load_model(ONE)
    codes = [np.stack([encode(ADAPTORS["left"] + s + ADAPTORS["right"]) for s in side]) for side in (ref, alt)]
    expected = network.predict_log2(codes[1]) - network.predict_log2(codes[0])
    found = model.effects(ref, alt)
    assert (found.dtype, found.shape) == (np.float32, (3,))
    np.testing.assert_allclose(found, expected, atol=2e-4)
    np.testing.assert_allclose(model.effects(alt, ref), -found, atol=1e-6)


def test_a_model_is_loaded_by_name_by_folder_and_with_an_output() -> None:
    pair = sequences(1, 200)[0], changed(sequences(1, 200)[0], 100)
    whole, k562 = al.load("lentimpra", device="cpu"), al.load(str(LENTIMPRA), output="K562", device="cpu")
    assert len(whole.models) == len(list(LENTIMPRA.glob("test*"))) and "lentimpra" in repr(whole)
    outputs = [al.load("lentimpra", output=name, device="cpu") for name in read_config(ONE)["outputs"]]
    each = [model.effects([pair[0]], [pair[1]])[0] for model in outputs]
    assert k562.effects([pair[0]], [pair[1]])[0] == pytest.approx(each[1], abs=1e-6)
    assert whole.effects([pair[0]], [pair[1]])[0] == pytest.approx(np.mean(each), abs=0.02)  # bfloat16


def test_short_sequences_are_centred_long_ones_cut_and_small_letters_read() -> None:
    model = al.load(ONE, device="cpu")
    long = sequences(1, 1000)[0]
    inner = long[400:600]
    ref, alt = [long, inner, inner.lower()], [changed(long, 500), changed(inner, 100), changed(inner, 100).lower()]
    effects = model.effects(ref, alt)
    assert effects == pytest.approx([effects[0]] * 3, abs=1e-6) and effects[0] != 0
    outside = model.effects([long], [changed(long, 10)])  # beyond the insert
    assert outside[0] == 0
    short = model.effects([inner[50:150]], [changed(inner, 100)[50:150]])
    assert short[0] != 0
    assert np.array_equal(short, model.effects([inner[50:150]], [changed(inner, 100)[50:150]]))


def test_what_surrounds_short_alleles_is_the_same_and_several_sequences() -> None:
    table = pd.DataFrame({"ref_sequence": ["ACGTAC"], "alt_sequence": ["ACGGGTAC"]})
    pairs = sequence_pairs(table, 20)
    assert pairs.reference.shape == pairs.alternative.shape == (1, 4, 20)
    assert {decode(row)[7:13] for row in pairs.reference[0]} == {"ACGTAC"}
    assert {decode(row)[7:15] for row in pairs.alternative[0]} == {"ACGGGTAC"}
    assert np.array_equal(pairs.reference[0][:, :7], pairs.alternative[0][:, :7])
    assert np.array_equal(pairs.reference[0][:, 15:], pairs.alternative[0][:, 15:])
    assert len({decode(row) for row in pairs.reference[0]}) == 4


def test_insertions_and_deletions_keep_the_left_side_in_place() -> None:
    model = al.load(ONE, device="cpu")
    ref = sequences(1, 400)[0]
    for alt in (ref[:200] + "ACGT" + ref[200:], ref[:200] + ref[204:]):
        effect = model.effects([ref], [alt])[0]
        left = 100  # of the middle 200 bp
        inserts = [ref[left : left + 200], alt[left : left + 200]]
        assert effect == pytest.approx(model.effects(*[[insert] for insert in inserts])[0], abs=1e-6)
        assert np.isfinite(effect) and effect != 0


@pytest.mark.parametrize(
    ("ref", "alt", "message"),
    [
        (["ACGT", "ACGT"], ["ACGT"], "2 ref and 1 alt sequences; give one alt for each ref"),
        (["ACGT"], ["ACXT"], "alt sequence 1: 'ACXT' is not a DNA sequence"),
        (["ACGT", ""], ["ACGT", "A"], "ref sequence 2: '' is not a DNA sequence"),
        ("ACGT", ["ACGT"], "ref is one sequence; give a list"),
    ],
)
def test_pairs_that_cannot_be_are_named(ref: list[str], alt: list[str], message: str) -> None:
    with pytest.raises(al.DataError, match=message):
        al.load(ONE, device="cpu").effects(ref, alt)


def test_no_pairs_have_no_effects() -> None:
    assert al.load(ONE, device="cpu").effects([], []).shape == (0,)


def test_a_model_that_is_not_there_is_named_with_the_box() -> None:
    with pytest.raises(al.DataError, match=r"lentimprah: no such checkpoint folder.*one of lentimpra"):
        al.load("lentimprah")
    assert find_model(ONE) == ONE


def test_the_box_is_small_described_and_runs_no_code() -> None:
    """Half precision, under 20 MB together; nothing in it but numbers and text."""
    files = [path for path in LENTIMPRA.parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 20e6
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".tsv", ".md", ".npz"}
    for path in (path for path in files if path.suffix == ".npz"):
        with np.load(path, allow_pickle=False) as parts:
            assert all(parts[name].dtype.kind in "uiU" for name in parts.files)
    card = (LENTIMPRA / "README.md").read_text(encoding="utf-8")
    for part in ("doi:10.1038/s41586-024-08430-9", "held out", "licence", "limits", "joint_lentimpra.py"):
        assert part in card, part
    for member in LENTIMPRA.glob("test*"):
        metrics = json.loads((member / "model.json").read_text())["metrics"]
        assert min(metrics[f"test_pearson_{cell}"] for cell in ("HepG2", "K562", "WTC11")) > 0.75


def test_loading_in_a_new_process_takes_one_line(tmp_path: Path) -> None:
    code = "import allelegro; print(allelegro.load('lentimpra', device='cpu').effects(['A' * 9], ['A' * 9]))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(al.__file__).parents[1], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[0.]", done.stderr


def test_a_vcf_is_scored_by_name_with_an_annotated_copy(tmp_path: Path) -> None:
    genome = write_genome(tmp_path / "genome.fa", {"chr1": 1000})
    records = [
        ("chr1", pos, f"rs{pos}", genome["chr1"][pos - 1], changed(genome["chr1"][pos - 1], 0)) for pos in (300, 500)
    ]
    write_vcf(tmp_path / "my.vcf", {"chr1": 1000}, records)
    call = "--model lentimpra --variants my.vcf --fasta genome.fa --out scores.tsv --out-vcf scored.vcf.gz --device cpu"
    done = run(tmp_path, "score_variants", call.split())
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "scores.tsv", sep="\t")
    assert set(table["model"]) == {"lentimpra"} and table["effect"].notna().all()
    ref = [genome["chr1"][pos - 1 - 100 : pos - 1 + 100] for pos in (300, 500)]
    alt = [changed(sequence, 100) for sequence in ref]
    np.testing.assert_allclose(al.load("lentimpra", device="cpu").effects(ref, alt), table["effect"], atol=1e-5)
    with gzip.open(tmp_path / "scored.vcf.gz", "rt") as file:
        assert sum("lentimpra" in line for line in file if not line.startswith("#")) == 2
    one = run(
        tmp_path, "score_variants", [*call.split()[:-4], "--out", "k562.tsv", "--output", "K562", "--device", "cpu"]
    )
    assert one.returncode == 0, one.stderr
    assert not np.allclose(pd.read_csv(tmp_path / "k562.tsv", sep="\t")["effect"], table["effect"], atol=1e-3)
    scores = al.score(tmp_path / "my.vcf", tmp_path / "genome.fa", "lentimpra", device="cpu")
    np.testing.assert_allclose(scores["effect"], table["effect"], atol=1e-5)


def test_measured_effects_of_any_kind_are_scored_on_the_sequences_they_bring(tmp_path: Path) -> None:
    """A QTL table, a UDACHA table (0-based start) and an MPRA table with ref_seq and alt_seq; no genome."""
    ref = sequences(12, 120)
    alt = [changed(sequence, 60) for sequence in ref]
    alleles = {"ref": [s[60] for s in ref], "alt": [s[60] for s in alt], "ref_seq": ref, "alt_seq": alt}
    value = np.linspace(-1, 1, 12)
    p = [1e-8, 0.5] * 6
    tables = {
        "qtl": {"Chr": "chr1", "Pos": range(1000, 1012), **alleles, "Beta": value, "Pr(>|t|)": p},
        "udacha": {
            "chr": "chr1", "start": range(999, 1011), **alleles, "pref_allele": np.where(value > 0, "alt", "ref"),
            "comb_es": np.abs(value), "fdr_comb_pval": p,
        },
        "mpra": {"chr": "chr1", "pos_hg19": range(1000, 1012), **alleles, "log2FC": value, "fdr": p},
    }  # fmt: skip
    write_checkpoint(tmp_path / "model", width=130, context=ADAPTORS)
    effects = []
    for kind, columns in tables.items():
        pd.DataFrame(columns).to_csv(tmp_path / f"{kind}.tsv", sep="\t", index=False)
        options = f"--checkpoint model --variants {kind}.tsv --kind {kind} --out {kind}.scores.tsv --device cpu --precision fp32"
        done = run(tmp_path, "score_variants", options.split())
        assert done.returncode == 0, done.stderr
        table = pd.read_csv(tmp_path / f"{kind}.scores.tsv", sep="\t")
        assert table["pos"].tolist() == list(range(1000, 1012))
        effects.append(table["effect"].to_numpy())
        options = f"--scores {kind}.scores.tsv --truth {kind}.tsv --kind {kind} --dataset d --out {kind}.metrics.tsv --points p.tsv.gz"
        done = run(tmp_path, "benchmark_variants", [*options.split(), "--n-boot", "100"])
        assert done.returncode == 0, done.stderr
        metrics = pd.read_csv(tmp_path / f"{kind}.metrics.tsv", sep="\t")
        assert {"model", "baseline_gc", "baseline_majority"} <= set(metrics["model"])
    assert np.array_equal(effects[0], effects[1]) and np.array_equal(effects[0], effects[2])
    broken = pd.DataFrame(tables["qtl"]).assign(alt_seq=[*alt[:5], "ACGR", *alt[6:]])
    broken.to_csv(tmp_path / "broken.tsv", sep="\t", index=False)
    options = "--checkpoint model --variants broken.tsv --kind qtl --out s.tsv --device cpu"
    done = run(tmp_path, "score_variants", options.split())
    assert done.returncode == 1 and "broken.tsv row 6, column alt_sequence: 'ACGR' is not a DNA sequence" in done.stderr
    plain = pd.DataFrame(tables["qtl"]).drop(columns=["ref_seq"])
    plain.to_csv(tmp_path / "plain.tsv", sep="\t", index=False)
    done = run(
        tmp_path,
        "score_variants",
        ["--checkpoint", "model", "--variants", "plain.tsv", "--kind", "qtl", "--out", "s.tsv"],
    )
    assert done.returncode == 2 and "--variants needs --fasta" in done.stderr


def test_the_box_says_what_its_training_saw() -> None:
    """Every network knows the k-mers of eight to nine tenths of the library, and random sequences are none of it."""
    for network in al.load("lentimpra", device="cpu").models:
        assert not network.seen.unknown and network.seen.by_sequence
        assert len(network.seen.kmers) == len(network.seen.unplaced) > 1_000_000
        place = pd.Series(["."]), pd.Series([-1]), pd.Series([0])
        assert not network.saw(*place, encode(sequences(1, 200)[0])[None]).any()
    assert sum(path.stat().st_size for path in LENTIMPRA.rglob("*") if path.is_file()) < 20e6


def test_saw_finds_a_sequence_with_another_allele_and_on_the_other_strand() -> None:
    model, trained = al.load(ONE, device="cpu"), sequences(3, 200)
    model.models[0].seen = Seen.training(np.stack([encode(sequence) for sequence in trained]), None)
    other = changed(trained[1], 100)
    turned = other[::-1].translate(str.maketrans("ACGT", "TGCA"))
    assert (
        model.saw([trained[0], other, turned, sequences(1, 200, seed=9)[0], "ACGT"]).tolist()
        == [True] * 3 + [False] * 2
    )
    with pytest.raises(al.DataError, match="letters A C G T N"):
        model.saw(["AC-T"])


def test_a_model_that_does_not_say_what_it_saw_is_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "silent")
    (tmp_path / "silent" / "seen.npz").unlink(missing_ok=True)
    document = json.loads((tmp_path / "silent" / "model.json").read_text())
    document["checksums"].pop("seen.npz", None)
    (tmp_path / "silent" / "model.json").write_text(json.dumps(document))
    with pytest.raises(al.DataError, match="does not say what training saw"):
        al.load(tmp_path / "silent", device="cpu").saw(["ACGT"])
