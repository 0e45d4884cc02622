"""Schema, configuration, tools' own defaults and documentation say the same."""

import ast
import importlib
import json
import re
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
import typer

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "nextflow_schema.json").read_text(encoding="utf-8"))
PARAMETERS: dict[str, dict[str, Any]] = {
    name: entry for group in SCHEMA["$defs"].values() for name, entry in group["properties"].items()
}
HANDED = [(name, tool, option) for name, entry in PARAMETERS.items() for tool, option in entry.get("tools", {}).items()]


def config_defaults() -> dict[str, Any]:
    """The ``params`` block of nextflow.config as Python values."""
    text = (ROOT / "nextflow.config").read_text(encoding="utf-8")
    block = re.search(r"^params \{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE)
    assert block
    words = {"null": None, "true": True, "false": False}
    pairs = re.findall(r"^    (\w+) = (.+)$", block[1], re.MULTILINE)
    return {name: words[value] if value in words else json.loads(value.replace("'", '"')) for name, value in pairs}


def test_configuration_has_every_parameter_with_the_schema_default() -> None:
    assert config_defaults() == {name: entry.get("default") for name, entry in PARAMETERS.items()}


@pytest.mark.parametrize(("name", "tool", "option"), HANDED)
def test_tool_takes_the_option_and_agrees_on_its_default(name: str, tool: str, option: str) -> None:
    app = importlib.import_module(f"allelegro.cli.{tool}").app
    options = {
        flag: parameter
        for parameter in typer.main.get_command(app).params
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    assert option in options, f"{tool}.py has no {option}"
    entry, parameter = PARAMETERS[name], options[option]
    if entry["type"] == "boolean":
        return
    if entry.get("default") is not None:
        default = getattr(parameter.default, "value", parameter.default)
        assert default == (pytest.approx(entry["default"]) if entry["type"] == "number" else entry["default"])
    choices = typing.get_args(parameter.type_descriptor.annotation)  # type: ignore[attr-defined]
    if choices and all(isinstance(choice, str) for choice in choices):
        assert set(entry["enum"]) <= set(choices)


def test_every_parameter_is_described_and_typed() -> None:
    for name, entry in PARAMETERS.items():
        assert entry["type"] in ("string", "integer", "number", "boolean"), name
        assert entry["description"].endswith("."), name


def test_documentation_is_generated_from_the_schema() -> None:
    command = [sys.executable, str(ROOT / "docs" / "make_parameters.py"), "--print"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8") == printed, "run make docs"


def test_versions_are_asked_of_locked_packages_only() -> None:
    folder = ROOT / "containers"
    locks = {name: (folder / "requirements" / f"{name}.txt").read_text() for name in ("core", "align", "torch")}
    apt = " ".join(re.findall(r"apt-get install .*", (folder / "Dockerfile").read_text(encoding="utf-8"))).split()
    images = {"label 'process_gpu'": "torch", "process ALIGN_READS": "align", "process INDEX_GENOME": "align"}
    for module in sorted(ROOT.glob("modules/*/*.nf")):
        text = module.read_text(encoding="utf-8")
        image = next((image for mark, image in images.items() if mark in text), "core")
        for name in " ".join(re.findall(r"task_record\.py ([^']+)'", text)).split():
            locked = re.search(rf"^{name.replace('_', '-')}==", locks[image], re.MULTILINE)
            assert locked or (image == "align" and name in apt), f"{module.name}: {name} is not in its image"


@pytest.mark.parametrize("image", ["core", "align", "torch"])
def test_image_tags_are_hashes_of_recipe_and_lock(image: str) -> None:
    script = ROOT / "containers" / "tag.sh"
    tag = subprocess.run([str(script), image], capture_output=True, text=True, check=True).stdout.strip()
    assert f"allelegro-{image}:{tag}" in (ROOT / "conf" / "containers.config").read_text(encoding="utf-8")


def test_tools_without_a_gpu_need_no_torch() -> None:
    """Their image has none: with torch out of reach, everything that such a tool imports when it runs can be imported."""
    tools = {
        tool
        for text in (path.read_text(encoding="utf-8") for path in ROOT.glob("modules/*/*.nf"))
        if "label 'process_gpu'" not in text
        for tool in re.findall(r"^\s+(\w+)\.py ", text, re.MULTILINE)
    }
    assert {"call_peaks", "benchmark_variants", "build_report"} <= tools
    imports = {
        node.module
        for tool in tools
        for node in ast.walk(ast.parse((ROOT / "bin" / "allelegro" / "cli" / f"{tool}.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("allelegro")
    }
    script = f"""
import importlib, sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError("there is no torch")

sys.meta_path.insert(0, NoTorch())
for name in {sorted(filter(None, imports))}:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT / "bin", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
