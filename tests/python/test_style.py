"""Habits of the code that ruff does not know: functions that fit a screen, tests that do not need each other."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST = 80  # lines of a function's body; a longer one says why: # long because …


def files(*patterns: str) -> list[Path]:
    return sorted({path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()})


def test_functions_fit_a_screen() -> None:
    for path in files("bin/**/*.py", "tests/**/*.py", "benchmarks/*.py", "containers/*.py", "docs/*.py"):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
                long = (node.end_lineno or 0) - node.body[0].lineno + 1 > LONGEST
                assert not long or any("# long because" in line for line in lines), f"{path}:{node.lineno}: {node.name}"


def test_no_test_imports_another() -> None:
    for path in files("tests/python/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.startswith("test_") for name in names), path
