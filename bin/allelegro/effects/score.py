"""Scoring from Python: variants in, a DataFrame out."""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import pandas as pd

from allelegro.effects.score_files import read_scores
from allelegro.effects.score_set import Outputs, VariantSet, score_set
from allelegro.effects.scoring import Scorer
from allelegro.effects.trained import TrainedModel
from allelegro.io.windows import read_windows
from allelegro.models.box import find_model
from allelegro.models.checkpoint import LoadedModel, load_model
from allelegro.models.device import choose_device
from allelegro.models.ensemble import members

Model: TypeAlias = str | os.PathLike[str] | LoadedModel | TrainedModel


def score(
    vcf: str | os.PathLike[str],
    fasta: str | os.PathLike[str],
    model: Model | Sequence[Model],
    *,
    windows: str | os.PathLike[str] | None = None,
    device: str = "auto",
    stop_on_mismatch: bool = False,
    **options: Any,
) -> pd.DataFrame:
    """Predicted effects of variants, the table that ``score_variants.py`` writes.

    Args:
        vcf: variants, as a VCF, a BCF or a table with ``chrom pos ref alt`` (1-based).
        fasta: the genome that they were called on, plain or bgzipped.
        model: a trained model: the name of one in the box, a folder, or a loaded one. Several, or a folder of folds and
            seeds, are an ensemble.
        windows: elements, a ``windows.bed`` or a BED of one width: a variant inside one is scored in it.
        device: ``auto``, ``cpu`` or ``cuda``.
        stop_on_mismatch: raise an error at a REF that the genome does not have, rather than give the variant no score.
        **options: fields of :class:`allelegro.effects.scoring.Scorer`, such as ``name``, ``shifts=[-10, 0, 10]`` or
            ``held_out_only=False``, by which all networks score every variant, also those that saw it in training.

    Returns:
        One row an allele, in the order of the file: ``chrom pos ref alt id model effect effect_sd … status reason``.
        ``effect`` is log2 of alternative over reference activity, positive when the alternative allele increases
        activity. It is NaN where ``status`` is not ``scored``; ``reason`` then says why. ``seen`` is ``yes`` where training
        of the networks behind the score saw the place of the variant: such an effect is no held-out prediction.

    Raises:
        DataError: for anything wrong with the files, and when no variant can be scored.
    """
    given = [model] if isinstance(model, str | os.PathLike | LoadedModel | TrainedModel) else list(model)
    place = choose_device(device)
    loaded = [network for one in given for network in _loaded(one)]
    folders = members(find_model(os.fspath(one)) for one in given if isinstance(one, str | os.PathLike))
    scorer = Scorer(**{"name": "model"} | options, models=loaded + [load_model(path, place) for path in folders])
    elements = read_windows(Path(windows), folds=False) if windows is not None else None
    with TemporaryDirectory(prefix="allelegro-") as folder:
        scores = Path(folder, "scores.parquet")
        score_set(VariantSet(Path(vcf), None, Path(fasta)), [scorer], Outputs(scores), stop_on_mismatch, elements)
        return read_scores(scores)


def _loaded(model: Model) -> list[LoadedModel]:
    """The networks of a model that is in memory already."""
    if isinstance(model, TrainedModel):
        return model.models
    return [model] if isinstance(model, LoadedModel) else []
