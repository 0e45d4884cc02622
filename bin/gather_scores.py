#!/usr/bin/env python3
"""Join the shards of a model's scores, and their records of cost."""

from allelegro.cli.gather_scores import app

if __name__ == "__main__":
    app()
