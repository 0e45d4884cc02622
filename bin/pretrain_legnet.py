#!/usr/bin/env python3
"""Train LegNet on lentiMPRA."""

from allelegro.cli.pretrain_legnet import app

if __name__ == "__main__":
    app()
