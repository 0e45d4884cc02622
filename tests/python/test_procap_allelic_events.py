"""Tests of allelic imbalance: calibrated without effects, right in sign and size with them, bias taken off."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from allelegro.errors import DataError
from allelegro.procap.allelic_events import call_events


def tables(folder: Path, effects: np.ndarray, bias: tuple[float, ...], seed: int = 1) -> list[Path]:
    """One table a library (two donors, the first with two libraries), beta-binomial with concentration 40."""
    rng = np.random.default_rng(seed)
    paths = []
    for number, value in enumerate(bias):
        share = 1 / (1 + np.exp(-(effects * np.log(2) + value)))
        depth = rng.poisson(40, len(effects)) + 1
        alt = rng.binomial(depth, rng.beta(40 * share, 40 * (1 - share)))
        table = pd.DataFrame({
            "chrom": "chr1", "pos": 10 * np.arange(len(effects)) + 1, "ref": "A", "alt": "C", "library": f"L{number}",
            "donor": f"D{number // 2}", "ref_count": depth - alt, "alt_count": alt, "other": 0, "low_quality": 0,
            "id": [f"rs{n}" for n in range(len(effects))], "phase": "0|1", "use": "used",
        })  # fmt: skip
        table.loc[0, "use"] = "likely genotyping error"
        path = folder / f"L{number}.snvs.tsv.gz"
        table.to_csv(path, sep="\t", index=False)
        paths.append(path)
    return paths


def test_nulls_are_uniform_once_bias_and_overdispersion_are_fitted(tmp_path: Path) -> None:
    found = call_events(tables(tmp_path, np.zeros(3000), (-0.3, 0.1, -0.2)), tmp_path / "allelic_events.tsv")
    assert len(found) == 2999 and (found["donors"] == 2).all()
    assert 0.03 < (found["p"] < 0.05).mean() < 0.07
    error = found["effect"].std() / np.sqrt(len(found))
    assert abs(found["effect"].mean()) < 4 * error
    raw = np.log2((found["alt_count"] + 0.5) / (found["ref_count"] + 0.5))
    assert abs(raw.mean()) > 10 * error
    assert (found["significant"] == "yes").sum() < 10


def test_effects_are_found_with_their_sign_and_size(tmp_path: Path) -> None:
    effects = np.zeros(2000)
    effects[1:101] = np.tile([2.0, -2.0], 50)
    found = call_events(tables(tmp_path, effects, (-0.2, 0.0, 0.0)), tmp_path / "e.tsv").set_index("id")
    true = found.loc[[f"rs{n}" for n in range(1, 101)]]
    called = true[true["significant"] == "yes"]
    assert (
        len(called) > 85 and (np.sign(called["effect"]) == np.sign(effects[1:101])[true["significant"] == "yes"]).all()
    )
    assert np.abs(true["effect"]).mean() == pytest.approx(2, abs=0.2)
    wrong = (found["significant"] == "yes").sum() - len(called)
    assert wrong <= 0.12 * len(called)


def test_what_cannot_be_tested_is_one_line(tmp_path: Path) -> None:
    paths = tables(tmp_path, np.zeros(20), (0.0, 0.0))
    with pytest.raises(DataError, match="lower --min-reads"):
        call_events(paths, tmp_path / "e.tsv", min_reads=10_000)
    assert call_events(paths, tmp_path / "e.tsv", min_reads=10_000, allow_none=True).empty
    assert (tmp_path / "e.tsv").read_text().startswith("chrom\tpos\tid\tref\talt\teffect\tn\tp\tfdr\tdonors")
    with pytest.raises(DataError, match="library L0 is in two of the tables"):
        call_events([paths[0], paths[0]], tmp_path / "e.tsv")
