#!/usr/bin/env python3
"""Merge the peaks of all libraries into windows with folds."""

from allelegro.cli.merge_peaks import app

if __name__ == "__main__":
    app()
