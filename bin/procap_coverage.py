#!/usr/bin/env python3
"""Stranded 5'-end coverage of one PRO-cap library as a bigWig pair."""

from allelegro.cli.procap_coverage import app

if __name__ == "__main__":
    app()
