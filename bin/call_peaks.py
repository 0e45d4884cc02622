#!/usr/bin/env python3
"""Call peaks of initiation from stranded 5'-end coverage."""

from allelegro.cli.call_peaks import app

if __name__ == "__main__":
    app()
