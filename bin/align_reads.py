#!/usr/bin/env python3
"""Align one library's reads: UMIs, adaptors, unwanted sequences, genome, duplicates."""

from allelegro.cli.align_reads import app

if __name__ == "__main__":
    app()
