"""The folded network gives the numbers of the network it was made of."""

from pathlib import Path

import numpy as np
import pytest
from effects_toys import write_checkpoint

from allelegro.models.inference import StrandPredictor


@pytest.mark.parametrize("kind", ["log2_activity", "log_rate"])
def test_folding_changes_nothing_in_float32(tmp_path: Path, kind: str) -> None:
    model = write_checkpoint(tmp_path / "m", 64)
    model.config["target"] = {"kind": kind}
    codes = np.random.default_rng(0).integers(0, 5, (50, 64)).astype(np.uint8)
    predictor = StrandPredictor(model, "fp32", batch_size=16)
    both = (predictor(codes, 0) + predictor(codes, 1)) / 2
    assert np.allclose(both, model.predict_log2(codes), rtol=1e-4, atol=1e-4)
    assert not np.allclose(predictor(codes, 0), predictor(codes, 1), atol=1e-2)


def test_reduced_precision_stays_close(tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "m", 64)
    codes = np.random.default_rng(0).integers(0, 4, (200, 64)).astype(np.uint8)
    exact, fast = StrandPredictor(model, "fp32")(codes, 0), StrandPredictor(model, "auto")(codes, 0)
    assert np.abs(fast - exact).max() < 0.05 * exact.std() + 0.02 * np.abs(exact).max()
