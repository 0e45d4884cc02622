#!/usr/bin/env python3
"""Write personal sequences of a haplotype store as FASTA, and per-window summaries."""

from allelegro.cli.export_haplotypes import app

if __name__ == "__main__":
    app()
