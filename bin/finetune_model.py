#!/usr/bin/env python3
"""Fine-tune LegNet or CLIPNET on people's own sequences and their PRO-cap counts."""

from allelegro.cli.finetune_model import app

if __name__ == "__main__":
    app()
