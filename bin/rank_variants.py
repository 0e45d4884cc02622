#!/usr/bin/env python3
"""Join the shards of a model's scores, and their records of cost."""

from allelegro.cli.rank_variants import app

if __name__ == "__main__":
    app()
