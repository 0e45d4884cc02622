#!/usr/bin/env python3
"""Compare predicted with measured variant effects, with intervals."""

from allelegro.cli.benchmark_variants import app

if __name__ == "__main__":
    app()
