"""The commands of the package, one for each launcher in bin/, and the models in the box. All else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
BIN = ROOT / "bin"
TOOLS = sorted(path.stem for path in BIN.glob("*.py") if (BIN / "allelegro" / "cli" / path.name).is_file())


class WithModels(build_py):
    """The library with ``assets/models`` inside, where allelegro.models.box looks for it."""

    def run(self) -> None:
        """Build as ever, then add the models."""
        super().run()
        shutil.copytree(
            ROOT / "assets" / "models", Path(self.build_lib, "allelegro", "assets", "models"), dirs_exist_ok=True
        )


setup(
    cmdclass={"build_py": WithModels},
    entry_points={"console_scripts": [f"{tool} = allelegro.cli.{tool}:app" for tool in TOOLS]},
)
