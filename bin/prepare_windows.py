#!/usr/bin/env python3
"""Make windows of any BED."""

from allelegro.cli.prepare_windows import app

if __name__ == "__main__":
    app()
