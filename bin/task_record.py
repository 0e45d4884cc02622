#!/usr/bin/env python3
"""A task's record on one line: versions of what its tools used, and what they took; a program that the task ran itself is named."""

import sys

from allelegro.provenance import program_version, task_record

programs = {name: program_version(name) for name in sys.argv[1:]}
print(*(f"{name}={value}" for name, value in (task_record() | programs).items()))
