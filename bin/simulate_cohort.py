#!/usr/bin/env python3
"""Simulate a cohort with a known truth."""

from allelegro.cli.simulate_cohort import app

if __name__ == "__main__":
    app()
