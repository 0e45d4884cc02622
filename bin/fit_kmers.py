#!/usr/bin/env python3
"""Fit the linear k-mer model that the networks must beat."""

from allelegro.cli.fit_kmers import app

if __name__ == "__main__":
    app()
