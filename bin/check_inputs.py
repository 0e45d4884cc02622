#!/usr/bin/env python3
"""Check sheets, references and files together, before anything is computed."""

from allelegro.cli.check_inputs import app

if __name__ == "__main__":
    app()
