"""The folded network gives the numbers of the network it was made of."""

from pathlib import Path

import numpy as np
import pytest

from allelegro.models.inference import StrandPredictor
from helpers.toy_variants import write_checkpoint


@pytest.mark.parametrize("kind", ["log2_activity", "log_rate"])
def test_folding_changes_nothing_in_float32(tmp_path: Path, kind: str) -> None:
    model = write_checkpoint(tmp_path / "m", 64)
    model.config["target"] = {"kind": kind}
    codes = np.random.default_rng(0).integers(0, 5, (50, 64)).astype(np.uint8)
    predictor = StrandPredictor(model, "fp32", batch_size=16)
    both = (predictor(codes, 0) + predictor(codes, 1)) / 2
    assert np.allclose(both, model.predict_log2(codes), rtol=1e-4, atol=1e-4)
    assert not np.allclose(predictor(codes, 0), predictor(codes, 1), atol=1e-2)


def test_effects_in_reduced_precision_stay_within_the_stated_tolerance(tmp_path: Path) -> None:
    """A thousand SNVs, one strand: what docs/methods.md says of ``--precision auto``."""
    model = write_checkpoint(tmp_path / "m", 64)
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 4, (1000, 64)).astype(np.uint8)
    alternative = reference.copy()
    alternative[:, 32] = (alternative[:, 32] + rng.integers(1, 4, 1000)) % 4
    exact, fast = (
        predict(alternative, 0) - predict(reference, 0)
        for predict in (StrandPredictor(model, "fp32"), StrandPredictor(model, "auto"))
    )
    assert np.corrcoef(exact, fast)[0, 1] > 0.995
    assert np.abs(fast - exact).max() < 0.3 * exact.std()
