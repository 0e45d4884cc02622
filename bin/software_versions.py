#!/usr/bin/env python3
"""Versions of Python, Allelegro and named packages on one line, for a run's record."""

import sys
from importlib.metadata import version
from platform import python_version

from allelegro import __version__

print(f"allelegro={__version__} python={python_version()}", *(f"{name}={version(name)}" for name in sys.argv[1:]))
