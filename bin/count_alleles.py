#!/usr/bin/env python3
"""Count a library's reads by haplotype of its donor, and both alleles' reads at heterozygous SNVs."""

from allelegro.cli.count_alleles import app

if __name__ == "__main__":
    app()
