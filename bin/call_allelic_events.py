#!/usr/bin/env python3
"""Test heterozygous SNVs for allelic imbalance over donors."""

from allelegro.cli.call_allelic_events import app

if __name__ == "__main__":
    app()
