#!/usr/bin/env python3
"""Compare the alleles of a library's reads with every donor's genotypes."""

from allelegro.cli.match_donors import app

if __name__ == "__main__":
    app()
