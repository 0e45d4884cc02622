"""Tests of allelic imbalance: calibrated without effects, right in sign and size with them, bias taken off."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from allelegro.cli.call_allelic_events import app
from allelegro.errors import DataError
from allelegro.procap.allelic_events import call_events, fit, fit_concentration, fit_null, imbalance
from allelegro.procap.allelic_windows import WINDOW_COLUMNS
from helpers.toy_stores import Toy, make_toy, with_alleles


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


@pytest.mark.parametrize("imbalanced", [0.0, 0.6])
def test_effects_do_not_count_as_noise_however_many_there_are(imbalanced: float) -> None:
    """Four donors a site, concentration 60: alike without effects and where three sites in five have one of either sign."""
    rng = np.random.default_rng(5)
    sites, donors = 1500, 4
    effect = np.where(rng.random(sites) < imbalanced, rng.normal(0, 0.8, sites), 0.0)
    site, donor = np.repeat(np.arange(sites), donors), np.tile(np.arange(donors), sites)
    share = 1 / (1 + np.exp(-effect[site]))
    depth = rng.poisson(40, len(site)) + 1
    alt = rng.binomial(depth, rng.beta(60 * share, 60 * (1 - share))).astype(float)
    bias, concentration = fit(depth - alt, alt, donor, donors, site, donor)
    assert 45 < concentration < 80
    _, p = imbalance(depth - alt, alt, bias[donor], concentration, site)
    assert 0.03 < (p[effect == 0] < 0.05).mean() < 0.075
    if imbalanced:  # as it was, most of them were noise
        assert fit_null(depth - alt, alt, donor, donors)[1] < 20
    assert fit_concentration(depth - alt, alt, bias[donor], site, np.zeros_like(donor)) is None  # one donor cannot tell


def test_what_cannot_be_tested_is_one_line(tmp_path: Path) -> None:
    paths = tables(tmp_path, np.zeros(20), (0.0, 0.0))
    with pytest.raises(DataError, match="lower --min-reads"):
        call_events(paths, tmp_path / "e.tsv", min_reads=10_000)
    assert call_events(paths, tmp_path / "e.tsv", min_reads=10_000, allow_none=True).empty
    assert (tmp_path / "e.tsv").read_text().startswith("chrom\tpos\tid\tref\talt\teffect\tn\tp\tfdr\tdonors")
    with pytest.raises(DataError, match="library L0 is in two of the tables"):
        call_events([paths[0], paths[0]], tmp_path / "e.tsv")


def call_windows(toy: Toy, folder: Path) -> None:
    """Test the windows of a toy's stores into ``w.tsv``, next to SNVs without effects."""
    snvs = tables(folder, np.zeros(30), (0.0, 0.0))[0]
    stores = ["--counts", toy.counts, "--haplotypes", toy.haplotypes]
    outputs = ["--out", folder / "e.tsv", "--out-windows", folder / "w.tsv"]
    app([str(part) for part in ("--snvs", snvs, *stores, *outputs)], standalone_mode=False)


def test_pairs_of_haplotypes_are_tested_over_the_donors_that_carry_them(tmp_path: Path) -> None:
    """The toy's first SNV breaks a motif, which is an effect of exp(-0.8), here at a quarter of the loci."""
    toy = make_toy(tmp_path, loci=80, donors=14, second_libraries=4)
    with_alleles(toy, swapped=False)
    reads = np.load(toy.counts / "allelic.npy")
    first = np.random.default_rng(8).binomial(reads[20:].sum(axis=-1).astype(np.int64), 0.5)
    reads[20:] = np.stack([first, reads[20:].sum(axis=-1) - first], axis=-1)
    toy.log_rate[20:] = 5
    np.save(toy.counts / "allelic.npy", reads)
    rows = [
        f"chr{n % 4 + 1}\t{p}\tA\tC\t{p - 1}\t{p}\tC"
        for n in range(80)
        for p in (1064 + 2000 * (n // 4), 1071 + 2000 * (n // 4))
    ]
    (toy.haplotypes / "variants.tsv").write_text("chrom\tpos\tref\talt\tstart\tend\tbases\n" + "\n".join(rows) + "\n")
    call_windows(toy, tmp_path)
    found = pd.read_csv(tmp_path / "w.tsv", sep="\t", keep_default_na=False)
    assert list(found.columns) == WINDOW_COLUMNS and (found["haplotype_1"] < found["haplotype_2"]).all()
    assert not found.duplicated(["window", "haplotype_1", "haplotype_2"]).any()
    window = found["window"].str.removeprefix("w").astype(int).to_numpy()
    true = (toy.log_rate[window, found["haplotype_2"]] - toy.log_rate[window, found["haplotype_1"]]) / np.log(2)
    called = found["significant"] == "yes"
    assert (np.sign(found["effect"])[called & (true != 0)] == np.sign(true)[called & (true != 0)]).all()
    assert called[true != 0].mean() > 0.5 and called[true == 0].mean() < 0.02
    assert np.abs(found["effect"] - true).mean() < 0.25
    owner = [toy.donors.index(name.split("_")[0]) for name in toy.libraries]
    one = found[found["donors"] > 1].iloc[0]
    at = int(one["window"][1:])
    carriers = [
        library for library, donor in enumerate(owner)
        if sorted(toy.index[at, donor]) == [one["haplotype_1"], one["haplotype_2"]]
    ]  # fmt: skip
    assert one["donors"] == len({owner[library] for library in carriers}) and one["n"] == 120 * len(carriers)
    zero = found[(found["haplotype_1"] == 0) & (found["haplotype_2"] == 1)].iloc[0]
    assert zero["alleles_1"] == "" and zero["alleles_2"].endswith(":A:C") and "," not in zero["alleles_2"]


def test_windows_alone_are_tested_and_may_be_without_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy = make_toy(tmp_path, loci=8, donors=6)
    with_alleles(toy, swapped=False)
    given = [
        str(part)
        for part in ("--counts", toy.counts, "--haplotypes", toy.haplotypes, "--out-windows", tmp_path / "w.tsv")
    ]
    app([*given, "--min-reads", "1000000", "--allow-none"], standalone_mode=False)
    assert (tmp_path / "w.tsv").read_text() == "\t".join(WINDOW_COLUMNS) + "\n"
    with pytest.raises(SystemExit):
        app([*given, "--min-reads", "1000000"], standalone_mode=False)
    assert "lower --min-reads" in capsys.readouterr().err


def test_windows_without_allelic_reads_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy = make_toy(tmp_path, loci=8, donors=3)
    with pytest.raises(SystemExit):
        call_windows(toy, tmp_path)
    assert "has no allelic reads" in capsys.readouterr().err and not (tmp_path / "e.tsv").exists()
