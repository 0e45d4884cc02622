"""Allelegro: learn from people's own genomes how variants change regulatory DNA.

One package a stage (see docs/development.md); nothing heavy is imported here, so that every
tool answers ``--help`` at once.
"""

__version__ = "0.1.0"
