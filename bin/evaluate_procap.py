#!/usr/bin/env python3
"""Evaluate PRO-cap models, control models and baselines on seen and unseen loci and donors."""

from allelegro.cli.evaluate_procap import app

if __name__ == "__main__":
    app()
