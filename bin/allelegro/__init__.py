"""Allelegro: learn from people's own genomes how variants change regulatory DNA.

What is meant for users is here: ``import allelegro as al``, then ``al.score(…)``. Each name is imported when it is first
used, so that ``import allelegro`` and every tool's ``--help`` answer at once. ``__init__.pyi`` gives the names their types.
Everything else is one package a stage (docs/architecture.md).
"""

import os
from importlib import import_module
from typing import Any

__version__ = "0.2.0"

# Read once, when torch loads its OpenMP library: idle threads of torch then sleep after a tenth of a millisecond of waiting instead
# of four, so that they do not keep cores from our own threads (allelegro.models.kernels).
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

_HOMES = {
    "CountsStore": "allelegro.procap.counts",
    "DataError": "allelegro.errors",
    "HaplotypeDataset": "allelegro.genotype.dataset",
    "HaplotypeStore": "allelegro.genotype.store",
    "load": "allelegro.effects.trained",
    "read_counts": "allelegro.procap.counts",
    "score": "allelegro.effects.score",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'allelegro' has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
