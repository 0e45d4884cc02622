"""The sources of measured variant effects that are read: the one list of what ``--kind`` may be."""

from enum import StrEnum


class EffectKind(StrEnum):
    """A source of measured effects, which fixes the columns, coordinates and sign of its tables."""

    satmut = "satmut"
    mpra = "mpra"
    adastra = "adastra"
    udacha = "udacha"
    allelic = "allelic"  # allelic_events.tsv of call_allelic_events.py
    qtl = "qtl"
    truth = "truth"  # a simulation's own effects
    table = "table"  # any other, by --column
