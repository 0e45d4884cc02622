#!/usr/bin/env python3
"""Score variants with one or several checkpoints: predicted log2 alt/ref."""

from allelegro.cli.score_variants import app

if __name__ == "__main__":
    app()
