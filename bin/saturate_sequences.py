#!/usr/bin/env python3
"""In-silico saturation mutagenesis of regions, with maps."""

from allelegro.cli.saturate_sequences import app

if __name__ == "__main__":
    app()
