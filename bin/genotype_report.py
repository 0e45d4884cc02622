#!/usr/bin/env python3
"""Tabulate a haplotype store for the report: variants, donors, relatedness, ancestry, compression."""

from allelegro.cli.genotype_report import app

if __name__ == "__main__":
    app()
