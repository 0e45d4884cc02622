#!/usr/bin/env python3
"""Score variants with Enformer, as a comparator."""

from allelegro.cli.score_enformer import app

if __name__ == "__main__":
    app()
