#!/usr/bin/env python3
"""Several tools one after the other in one process, whose packages load once: run_tools.py TOOL.py … --then TOOL.py …"""

import sys
from importlib import import_module
from itertools import groupby

from allelegro.provenance import recorded

with recorded():
    for is_break, words in groupby(sys.argv[1:], "--then".__eq__):
        if not is_break:
            name, *arguments = words
            try:
                import_module(f"allelegro.cli.{name.removesuffix('.py')}").app(arguments, prog_name=name)
            except SystemExit as ended:  # typer ends every command so; the first that fails ends all
                if ended.code:
                    raise
