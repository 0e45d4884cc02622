#!/usr/bin/env python3
"""Make the haplotype store of a cohort: both haplotypes of every donor at every window, each distinct one once."""

from allelegro.cli.extract_haplotypes import app

if __name__ == "__main__":
    app()
