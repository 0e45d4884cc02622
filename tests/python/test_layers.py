"""The table of layers (``bin/allelegro/layers.json``) is true: who may import whom, and what each tool depends on."""

import ast
import json
import shutil
from pathlib import Path

import pytest

from helpers.pipeline import NEXTFLOW, ROOT, nextflow

LIBRARY = ROOT / "bin" / "allelegro"
LAYERS: dict[str, dict[str, list[str]]] = json.loads((LIBRARY / "layers.json").read_text(encoding="utf-8"))
PACKAGES, TOOLS = LAYERS["packages"], LAYERS["tools"]


def file_of(module: str) -> Path | None:
    """The source of ``allelegro.a.b``."""
    base = ROOT.joinpath("bin", *module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def imports_of(source: Path) -> set[Path]:
    """Sources of the library named by the import statements of one, wherever in it they are."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{source}: relative import"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {path for name in found if name.split(".")[0] == "allelegro" and (path := file_of(name))}


def package_of(source: Path) -> str:
    parts = source.relative_to(LIBRARY).parts
    return parts[0] if len(parts) > 1 else "ground"


def all_below(package: str) -> set[str]:
    return {package}.union(*(all_below(name) for name in PACKAGES[package]))


def test_the_table_names_every_package_and_tool() -> None:
    folders = {path.parent.name for path in LIBRARY.glob("*/__init__.py")} - {"cli"}
    assert set(PACKAGES) == folders | {"ground"}
    assert set(TOOLS) == {path.stem for path in (ROOT / "bin").glob("*.py")} - {"task_record", "run_tools"}


def test_no_package_is_above_itself() -> None:
    for package, allowed in PACKAGES.items():
        assert all(package not in all_below(name) for name in allowed), package


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_the_table_allows(package: str) -> None:
    for source in LIBRARY.rglob("*.py"):
        if package_of(source) == package:
            upward = {package_of(path) for path in imports_of(source)} - {package, "ground", *PACKAGES[package]}
            assert not upward, f"{source.relative_to(LIBRARY)} imports {', '.join(sorted(upward))}"


def test_nothing_but_tools_imports_their_command_lines() -> None:
    for source in LIBRARY.rglob("*.py"):
        assert package_of(source) == "cli" or "cli" not in {package_of(path) for path in imports_of(source)}, source


@pytest.mark.parametrize("tool", TOOLS)
def test_a_command_line_imports_only_what_its_tool_declares(tool: str) -> None:
    below = set().union(*(all_below(name) for name in TOOLS[tool] if name in PACKAGES), {"ground", "cli"})
    for path in imports_of(LIBRARY / "cli" / f"{tool}.py"):
        module = ".".join(path.relative_to(LIBRARY).with_suffix("").parts)
        assert path.name == "__init__.py" or package_of(path) in below or module in TOOLS[tool], (
            f"{tool} imports {module}"
        )


@pytest.mark.skipif(NEXTFLOW is None, reason="no nextflow; make env installs it")
def test_the_fingerprint_of_a_tool_covers_all_that_it_imports(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "modules", tmp_path / "modules")
    (tmp_path / "main.nf").write_text(
        "include { codeFiles ; readLayers } from './modules/tools.nf'\n"
        f"workflow {{\n    layers = readLayers('{ROOT}/bin')\n"
        f"    layers.tools.keySet().each {{ tool ->\n"
        f"        println(([tool] + codeFiles('{ROOT}/bin', layers, tool)).join(' '))\n    }}\n}}\n"
    )
    run = nextflow(tmp_path, "run", "main.nf")
    lines = [line.split() for line in run.output.splitlines() if line.split(" ")[0] in TOOLS]
    covered = {tool: set(files) for tool, *files in lines}
    assert set(covered) == set(TOOLS), run.output
    for tool, files in covered.items():
        imported: set[Path] = set()
        queue = [LIBRARY / "cli" / f"{tool}.py"]
        while queue:
            source = queue.pop()
            if source not in imported:
                imported.add(source)
                queue += imports_of(source)
        names = {path.relative_to(ROOT / "bin").as_posix() for path in imported}
        missing = {name for name in names - files if not name.endswith("__init__.py")}
        assert not missing, f"{tool}: layers.json lacks {sorted(missing)}"
    assert "allelegro/report/style.css" in covered["build_report"]
    assert not any(name.startswith(("allelegro/training", "allelegro/effects")) for name in covered["build_report"])
