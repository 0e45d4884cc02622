"""The commands of the package: one for each launcher in bin/. All else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup

BIN = Path(__file__).parent / "bin"
TOOLS = sorted(path.stem for path in BIN.glob("*.py") if (BIN / "allelegro" / "cli" / path.name).is_file())

setup(entry_points={"console_scripts": [f"{tool} = allelegro.cli.{tool}:app" for tool in TOOLS]})
