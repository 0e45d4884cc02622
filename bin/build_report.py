#!/usr/bin/env python3
"""Build the report of a run from its results folder."""

from allelegro.cli.build_report import app

if __name__ == "__main__":
    app()
