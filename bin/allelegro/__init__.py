"""Allelegro: learn from people's own genomes how variants change regulatory DNA.

One package a stage (see docs/architecture.md); nothing heavy is imported here, so that every
tool answers ``--help`` at once.
"""

import os

__version__ = "0.2.0"

# Read once, when torch loads its OpenMP library: idle threads of torch then sleep after a tenth of a millisecond of waiting instead
# of four, so that they do not keep cores from our own threads (allelegro.models.kernels).
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
