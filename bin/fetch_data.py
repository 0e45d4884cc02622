#!/usr/bin/env python3
"""Fetch the public datasets of the study."""

from allelegro.cli.fetch_data import app

if __name__ == "__main__":
    app()
