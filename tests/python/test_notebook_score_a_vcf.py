"""The notebook that scores a VCF runs to its end on a tiny genome, and draws what its scores say."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from helpers.toy_variants import write_genome, write_vcf

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "score_a_vcf.ipynb"


def test_a_vcf_is_scored_and_a_variant_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    matplotlib.use("Agg")
    genome = write_genome(tmp_path / "genome.fa", {"chr1": 2000})["chr1"]
    places = (500, 900, 1500)
    records = [("chr1", pos, f"rs{pos}", genome[pos - 1], "T" if genome[pos - 1] != "T" else "A") for pos in places]
    write_vcf(tmp_path / "my.vcf", {"chr1": 2000}, records)
    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    names: dict[str, Any] = {}
    for cell in cells:
        exec("".join(cell["source"]), names)
    assert names["scores"]["pos"].tolist() == list(places)
    top, effects = names["top"], names["effects"]
    assert abs(top["effect"]) == names["scores"]["effect"].abs().max()
    # The drawn effect of the variant is its score; a base that is there already changes nothing.
    assert effects["ACGT".index(top["alt"]), 20] == pytest.approx(top["effect"], abs=1e-5)
    assert np.all(effects["ACGT".index(top["ref"]), 20] == 0)
    assert (tmp_path / "variant.png").stat().st_size > 5000
    assert "effect_sd" in capsys.readouterr().out
