"""Versions of what a run used."""

import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version


def version_of(name: str) -> str:
    """Version of a Python package, or else of a program on PATH; "absent" when there is neither."""
    try:
        return version(name)
    except PackageNotFoundError:
        return program_version(name) if shutil.which(name) else "absent"


def program_version(name: str) -> str:
    """The first dotted number that ``name --version`` prints."""
    said = subprocess.run([name, "--version"], capture_output=True, check=False).stdout.decode(errors="replace")
    found = re.search(r"\d+(\.\d+)+", said)
    return found.group() if found else "unknown"
