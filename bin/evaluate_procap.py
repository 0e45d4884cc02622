#!/usr/bin/env python3
"""Judge PRO-cap models, their twins and baselines on seen and unseen loci and donors."""

from allelegro.cli.evaluate_procap import app

if __name__ == "__main__":
    app()
