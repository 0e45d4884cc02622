"""Importance of bases in both alleles of a variant."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from allelegro.effects.importance import allele_window, importance, top_scores
from allelegro.effects.windows import Genome
from allelegro.io.dna import decode, encode

SEQUENCE = "ACGTACGTTGACTCAGGATCCATTGCACCGGA" * 2


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    path = tmp_path / "g.fa"
    path.write_text(f">chr1\n{SEQUENCE}\n")
    return Genome(path)


class CountsA:
    """A model whose log2 activity is how many A are in its input; every position weighs the same."""

    name, width, insert_width = "toy", 20, 20
    config: ClassVar[dict[str, object]] = {"context": None}

    def predict_log2(self, codes: np.ndarray) -> np.ndarray:
        return np.asarray((codes == 0).sum(axis=1), np.float32)


class ToyScorer:
    """Two models, of which the second may score nothing."""

    name, context, narrowest = "toy", "auto", 20
    models = (CountsA(), CountsA())

    def input_width(self, model: CountsA) -> int:
        return model.width

    def choose(self, chrom: pd.Series, *_: object) -> tuple[np.ndarray, np.ndarray]:
        return np.array([[True] * len(chrom), [False] * len(chrom)]), np.full(len(chrom), "no")


def scores(*rows: tuple[int, str, str, float]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["pos", "ref", "alt", "effect"]).assign(chrom="chr1", id=".")
    return table[["chrom", "pos", "ref", "alt", "id", "effect"]]


def test_top_scores_are_the_largest_and_each_once() -> None:
    table = scores((1, "A", "C", 0.5), (2, "C", "A", -2.0), (2, "C", "A", -2.0), (3, "G", "A", float("nan")))
    assert top_scores(table, 5)["pos"].tolist() == [2, 1]
    ranked = table[["chrom", "pos", "ref", "alt"]].drop_duplicates().assign(rank=lambda rows: rows["pos"])
    assert top_scores(table, 5, ranked)["pos"].tolist() == [1, 2]
    assert top_scores(table, 1, ranked)["pos"].tolist() == [1]


def test_importance_is_minus_the_mean_effect_of_changes(genome: Genome) -> None:
    """An A is worth 1 (each change costs it), any other base -1/3 (one change of three makes an A)."""
    (table,) = importance(scores((9, "T", "A", 1.0)), ToyScorer(), genome, 10)  # type: ignore[arg-type]
    assert len(table) == 20 and set(table["model"]) == {"toy"}
    worth = np.where(table["base"] == "A", 1.0, -1 / 3)
    assert table["importance"].to_numpy() == pytest.approx(worth)
    at = table[table["offset"] == 0].set_index("allele")["base"]
    assert at.to_dict() == {"ref": "T", "alt": "A"}
    reference = "".join(table[table["allele"] == "ref"].sort_values("offset")["base"])
    assert reference == SEQUENCE[3:13]


@pytest.mark.parametrize(
    ("ref", "alt", "expected"),
    [("T", "A", SEQUENCE[:8] + "A" + SEQUENCE[9:18]), ("T", "TGG", SEQUENCE[:9] + "GG" + SEQUENCE[9:16]),
     ("TG", "T", SEQUENCE[:9] + SEQUENCE[10:19])],
)  # fmt: skip
def test_alternative_window_goes_on_as_the_genome_does(genome: Genome, ref: str, alt: str, expected: str) -> None:
    row = pd.Series({"chrom": "chr1", "contig": "chr1", "start": 8, "before": ref, "after": alt})
    codes, place = allele_window(row, "alt", genome, 18)
    assert (decode(codes), place) == ("N" + expected[:17], 9)


def test_a_variant_is_looked_at_in_its_element(genome: Genome) -> None:
    row = pd.Series({"contig": "chr1", "start": 12, "before": "T", "after": "C", "view": "element", "distance": -4.0})
    codes, place = allele_window(row, "ref", genome, 10)
    assert place == 1 and (codes == encode(SEQUENCE[11:21])).all()
