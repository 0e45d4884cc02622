#!/usr/bin/env python3
"""Count 5' ends of every library in every window: raw counts and base-resolution profiles."""

from allelegro.cli.count_windows import app

if __name__ == "__main__":
    app()
