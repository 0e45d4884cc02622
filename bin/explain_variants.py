#!/usr/bin/env python3
"""Importance of each base around the top scored variants, in both alleles."""

from allelegro.cli.explain_variants import app

if __name__ == "__main__":
    app()
