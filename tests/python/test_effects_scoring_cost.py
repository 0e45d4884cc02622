"""The record of what scoring cost, of one task and of the shards of a model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from allelegro.cli.gather_scores import app as gather_scores
from allelegro.cli.score_variants import app as score_variants
from allelegro.effects.scoring_cost import Cost, together
from allelegro.effects.variants import Counts, read_counts
from allelegro.errors import DataError
from helpers.toy_variants import write_checkpoint, write_genome


def scored(room: Path, *arguments: str, out: str = "s.tsv", threads: int = 1) -> dict[str, object]:
    """Score 600 SNVs of a toy genome with two checkpoints; the record of cost."""
    rows = [("chr1", at, base, "ACGT"["CGTA".index(base)]) for at, base in enumerate(genome(room), start=1)][50:650]
    pd.DataFrame(rows, columns=["chrom", "pos", "ref", "alt"]).to_csv(room / "v.tsv", sep="\t", index=False)
    score_variants(
        ["--checkpoint", str(room / "a"), "--checkpoint", str(room / "b"), "--fasta", str(room / "g.fa"), "--variants",
         str(room / "v.tsv"), "--name", "net", "--device", "cpu", "--out", str(room / out), "--cost",
         str(room / f"{out}.json"), "--threads", str(threads), *arguments], standalone_mode=False,
    )  # fmt: skip
    record: dict[str, object] = json.loads((room / f"{out}.json").read_text())
    return record


def genome(room: Path) -> str:
    if not (room / "g.fa").exists():
        for seed, name in enumerate("ab"):
            write_checkpoint(room / name, 60, seed=seed)
        write_genome(room / "g.fa", {"chr1": 700})
    return "".join((room / "g.fa").read_text().split("\n")[1:])


def test_the_record_says_what_was_done(tmp_path: Path) -> None:
    record = scored(tmp_path, "--shift", "0", "--shift", "3")
    parameters = sum(p.numel() for p in write_checkpoint(tmp_path / "c", 60).module.parameters())
    assert (record["model"], record["architecture"], record["parameters"]) == ("net", "legnet", parameters)
    assert (record["checkpoints"], record["variants"], record["threads"], record["device"]) == (2, 600, 1, "cpu")
    assert record["sequences"] == 600 * 2 * 2 * 2 * 2  # alleles, checkpoints, strands, shifts; no reference is shared
    assert record["precision"] in ("bf16", "fp32") and record["device_memory_mib"] is None
    assert record["variants_per_second"] == pytest.approx(600 / float(str(record["seconds"])), rel=0.01)
    assert 50 < float(str(record["peak_memory_mib"])) < 10_000
    assert scored(tmp_path, "--precision", "fp32", "--strands", "forward")["sequences"] == 600 * 2 * 2
    assert Cost.read(tmp_path / "s.tsv.json").precision == "fp32"


def gather(room: Path, shards: list[int], *more: str) -> None:
    parts = [
        part
        for n in shards
        for part in ("--scores", f"net={room / f'{n}.tsv'}", "--cost", str(room / f"{n}.tsv.json"),
                     "--counts", str(room / f"{n}.counts"))
    ]  # fmt: skip
    out = ["--out", str(room / "all.{model}.tsv"), "--out-cost", str(room / "all.{model}.json")]
    gather_scores([*parts, *out, "--out-counts", str(room / "all.counts"), *more], standalone_mode=False)


def test_shards_are_joined_in_order_and_their_costs_add_up(tmp_path: Path) -> None:
    whole = scored(tmp_path)
    for shard in (1, 2, 3, 4):  # 600 variants make three chunks: the fourth shard is empty
        scored(tmp_path, "--shard", f"{shard}/4", "--counts", str(tmp_path / f"{shard}.counts"), out=f"{shard}.tsv")
    gather(tmp_path, [1, 2, 3, 4])
    table, expected = (pd.read_csv(tmp_path / name, sep="\t") for name in ("all.net.tsv", "s.tsv"))
    assert list(table.columns) == list(expected.columns)
    assert table["pos"].tolist() == expected["pos"].tolist()
    assert np.allclose(table["effect"], expected["effect"], atol=0.01)
    cost, shards = Cost.read(tmp_path / "all.net.json"), [Cost.read(tmp_path / f"{n}.tsv.json") for n in (1, 2, 3, 4)]
    assert (cost.variants, cost.sequences) == (whole["variants"], whole["sequences"])
    assert cost.seconds == pytest.approx(sum(shard.seconds for shard in shards), abs=0.01)
    assert cost.peak_memory_mib == max(shard.peak_memory_mib for shard in shards)
    assert read_counts([tmp_path / "all.counts"])["net"] == Counts(600)


def test_shards_that_are_not_in_their_order_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for shard in (1, 2):
        scored(tmp_path, "--shard", f"{shard}/2", "--counts", str(tmp_path / f"{shard}.counts"), out=f"{shard}.tsv")
    for wrong, message in (([2, 1], "has more rows than fit"), ([1, 1], "give each shard once")):
        with pytest.raises(SystemExit):
            gather(tmp_path, wrong)
        assert message in capsys.readouterr().err
    assert not (tmp_path / "all.net.tsv").exists()


def test_records_and_shards_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    scored(tmp_path, "--counts", str(tmp_path / "c.tsv"))
    cost = Cost.read(tmp_path / "s.tsv.json")
    with pytest.raises(DataError, match="not shards of one model"):
        together([cost, replace(cost, model="other")])
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(DataError, match=r"bad\.json: not a record of cost"):
        Cost.read(tmp_path / "bad.json")
    (tmp_path / "t.tsv").write_text("other\theader\n")
    both = [
        *("--scores", f"net={tmp_path / 's.tsv'}", "--scores", f"net={tmp_path / 't.tsv'}"),
        *(
            "--cost",
            str(tmp_path / "s.tsv.json"),
            "--counts",
            str(tmp_path / "c.tsv"),
            "--out-counts",
            str(tmp_path / "d"),
        ),
    ]
    with pytest.raises(SystemExit):
        gather_scores(
            [*both, "--out", str(tmp_path / "o.tsv"), "--out-cost", str(tmp_path / "o.json")], standalone_mode=False
        )
    assert not (tmp_path / "o.tsv").exists()
