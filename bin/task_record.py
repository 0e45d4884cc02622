#!/usr/bin/env python3
"""A task's record on one line: versions of Python, Allelegro and named packages or programs, and what the task's tools took."""

import sys
from platform import python_version

from allelegro import __version__
from allelegro.provenance import version_of
from allelegro.resources import task_cost

record = {"allelegro": __version__, "python": python_version()} | {name: version_of(name) for name in sys.argv[1:]}
print(*(f"{name}={value}" for name, value in (record | task_cost()).items()))
