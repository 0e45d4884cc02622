"""Saturation mutagenesis against one-by-one scoring, haplotype backgrounds, and the optional Enformer scorer."""

import random
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from allelegro.cli.saturate_sequences import app as saturate
from allelegro.cli.score_enformer import app as score_enformer
from allelegro.io.dna import encode
from allelegro.io.windows import WINDOW_COLUMNS, write_windows
from helpers.slow_haplotypes import Cohort, Record, extract, random_dna
from helpers.toy_variants import write_checkpoint, write_fasta, write_genome, write_vcf


def test_every_change_of_an_element_is_scored_in_place(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    element = "".join(rng.choice(list("ACGT"), 40))
    write_fasta(tmp_path / "e.fa", {"element one": element, "second": "ACGTN" * 12})
    model = write_checkpoint(tmp_path / "m", 48)
    saturate(
        ["--checkpoint", str(tmp_path / "m"), "--fasta", str(tmp_path / "e.fa"), "--out", str(tmp_path / "sat"),
         "--deletions", "--device", "cpu"], standalone_mode=False,
    )  # fmt: skip
    table = pd.read_csv(tmp_path / "sat" / "saturation.tsv", sep="\t").query("region == 'element'")
    assert len(table) == 40 * 4
    assert [path.name for path in (tmp_path / "sat").iterdir()] == ["saturation.tsv"]
    change = table.query("pos == 11 and alt != '-'").iloc[0]
    padded = "N" * 4 + element + "N" * 4
    edited = padded[:14] + change["alt"] + padded[15:]
    before, after = (model.predict_log2(encode(text)[None])[0] for text in (padded, edited))
    scale = abs(table["effect"]).max()
    assert change["effect"] == pytest.approx(after - before, abs=0.05 * scale)


def test_windows_are_taken_where_a_model_did_not_train(tmp_path: Path) -> None:
    write_genome(tmp_path / "g.fa", {"chr1": 500, "chr2": 500})
    rows = [("chr1", 100, 200, "best", 9.0, ".", 0), ("chr2", 100, 200, "held_out", 1.0, ".", 1)]
    write_windows(pd.DataFrame(rows, columns=WINDOW_COLUMNS), tmp_path / "w.bed")
    write_checkpoint(tmp_path / "m", 48, held_out_chromosomes=["chr2"])
    arguments = [
        "--checkpoint",
        str(tmp_path / "m"),
        "--fasta",
        str(tmp_path / "g.fa"),
        "--windows",
        str(tmp_path / "w.bed"),
        "--span",
        "10",
    ]
    saturate([*arguments, "--out", str(tmp_path / "sat"), "--device", "cpu"], standalone_mode=False)
    table = pd.read_csv(tmp_path / "sat" / "saturation.tsv", sep="\t")
    assert set(table["region"]) == {"held_out"}
    assert (table["pos"].min(), table["pos"].max(), len(table)) == (146, 155, 30)
    assert (table["seen"] == "no").all()
    saturate(
        [*arguments, "--out", str(tmp_path / "named"), "--window", "best", "--device", "cpu"], standalone_mode=False
    )
    assert (pd.read_csv(tmp_path / "named" / "saturation.tsv", sep="\t")["seen"] == "yes").all()
    with pytest.raises(SystemExit):
        saturate([*arguments, "--out", str(tmp_path / "none"), "--window", "nowhere"], standalone_mode=False)
    assert not (tmp_path / "none").exists()


def test_windows_where_donors_differ_come_first(tmp_path: Path) -> None:
    """The best window has one sequence for all donors; a poorer one, where they differ, is taken before it."""
    sequence = random_dna(random.Random(3), 900)
    change = dict(zip("ACGT", "CGTA", strict=True))[sequence[499]]
    windows = [("chr1", 100, 200), ("chr1", 450, 550), ("chr1", 700, 800)]
    calls = ["0|1", "1|1", "0|0", "0|0"]
    cohort = Cohort({"chr1": sequence}, [Record(500, sequence[499], change, calls)], ["a", "b", "c", "d"], windows)
    extract(cohort, tmp_path / "cohort")
    write_checkpoint(tmp_path / "m", 48)
    arguments = [
        "--checkpoint", str(tmp_path / "m"), "--fasta", str(tmp_path / "cohort" / "genome.fa"), "--device", "cpu",
        "--windows", str(tmp_path / "cohort" / "windows.bed"), "--span", "10", "--count", "2",
    ]  # fmt: skip
    taken = {}
    for name, more in {"score": [], "donors": ["--haplotypes", str(tmp_path / "cohort" / "store")]}.items():
        saturate([*arguments, *more, "--out", str(tmp_path / name)], standalone_mode=False)
        taken[name] = pd.read_csv(tmp_path / name / "saturation.tsv", sep="\t")["region"].unique().tolist()
    assert taken == {"score": ["window0", "window1"], "donors": ["window1", "window0"]}


def test_enformer_is_optional_and_one_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "enformer_pytorch", None)
    write_genome(tmp_path / "g.fa", {"chr1": 500})
    (tmp_path / "v.tsv").write_text("chrom\tpos\tref\talt\nchr1\t5\tA\tC\n")
    with pytest.raises(SystemExit) as stopped:
        score_enformer(
            ["--weights", str(tmp_path), "--variants", str(tmp_path / "v.tsv"), "--fasta", str(tmp_path / "g.fa"),
             "--track", "0", "--out", str(tmp_path / "o.tsv"), "--device", "cpu"], standalone_mode=False,
        )  # fmt: skip
    assert stopped.value.code == 1
    assert "enformer-pytorch is not installed" in capsys.readouterr().err


class CountsCentralGc(torch.nn.Module):
    """Stands for Enformer: one track that counts G and C in each 128-bp bin."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        gc = x[:, :, 1] + x[:, :, 2]
        return {"human": gc.reshape(len(x), -1, 128).sum(dim=2)[:, :, None]}


def test_enformer_sums_central_bins_of_both_strands(tmp_path: Path) -> None:
    from allelegro.effects.enformer import EnformerScorer
    from allelegro.effects.variants import Dropped, parse_alleles, read_variants
    from allelegro.effects.windows import Genome

    genome = write_genome(tmp_path / "g.fa", {"chr1": 5000})["chr1"]
    changed = {"A": "G", "T": "C", "C": "T", "G": "A"}[genome[2499]]
    write_vcf(tmp_path / "v.vcf", {"chr1": 5000}, [("chr1", 2500, ".", genome[2499], changed)])
    scorer = EnformerScorer(CountsCentralGc(), [0], torch.device("cpu"), width=128 * 9, bins=3)
    dropped = Dropped()
    rows = pd.concat(
        scorer.score(parse_alleles(read_variants(tmp_path / "v.vcf"), dropped), Genome(tmp_path / "g.fa"), dropped)
    )
    window = genome[2499 - 192 : 2499 + 192]
    before = sum(base in "GC" for base in window)
    after = before + (1 if changed in "GC" else -1)
    assert rows["score"].tolist() == [pytest.approx(np.log2((after + 1e-3) / (before + 1e-3)), abs=1e-4)]


def test_the_real_network_of_small_size(tmp_path: Path) -> None:
    """enformer-pytorch itself, randomly initialised; runs where ``containers/requirements/enformer.txt`` is installed."""
    package = pytest.importorskip("enformer_pytorch", reason="enformer-pytorch is not installed; it is optional")
    from allelegro.effects.enformer import WIDTH, EnformerScorer
    from allelegro.errors import DataError
    from allelegro.models.encoding import one_hot

    torch.manual_seed(0)
    network = package.Enformer.from_hparams(
        dim=96, depth=1, heads=4, dim_divisible_by=12, target_length=896, use_tf_gamma=False,
        output_heads={"human": 7, "mouse": 3},
    )  # fmt: skip
    for parameter in network.parameters():
        if parameter.ndim > 1:  # as they are drawn, a base changes nothing that float32 can hold
            torch.nn.init.normal_(parameter, 0.0, 2 * parameter[0].numel() ** -0.5)
    network.save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(DataError, match="track 7 does not exist; there are 7 human tracks"):
        EnformerScorer.load(tmp_path, [7], torch.device("cpu"), 3)
    scorer = EnformerScorer.load(tmp_path, [1, 5], torch.device("cpu"), 3)
    codes = np.random.default_rng(0).integers(0, 4, (1, WIDTH), np.uint8)
    changed = codes.copy()
    changed[0, WIDTH // 2] = 3 - changed[0, WIDTH // 2]
    before, after = scorer._log2(codes), scorer._log2(changed)
    assert scorer._log2(3 - codes[:, ::-1].copy()) == pytest.approx(before, rel=1e-4)
    assert abs(after - before) > 1e-3
    with torch.inference_mode():
        strands = torch.from_numpy(np.concatenate([codes, 3 - codes[:, ::-1]]))
        human = network.eval()(one_hot(strands, 0.0).transpose(1, 2))["human"]
    expected = np.log2(float(human[:, 446:449, [1, 5]].sum()) / 2 + 1e-3)
    assert before == pytest.approx(expected, rel=1e-4)
