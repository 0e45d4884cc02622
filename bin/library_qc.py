#!/usr/bin/env python3
"""Quality of every PRO-cap library and of the cohort, as tidy tables."""

from allelegro.cli.library_qc import app

if __name__ == "__main__":
    app()
