#!/usr/bin/env python3
"""Make a lentiMPRA training table whose folds do not leak."""

from allelegro.cli.prepare_mpra import app

if __name__ == "__main__":
    app()
