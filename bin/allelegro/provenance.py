"""The record of a task: what its tools took, the packages they loaded and the programs they ran."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

from allelegro import __version__
from allelegro.resources import gpu_memory, peak_memory

RECORD = "ALLELEGRO_RECORD"  # names the file in which the tools of a task record themselves
_programs: dict[str, str] = {}


@contextmanager
def recorded() -> Iterator[None]:
    """Append a JSON line on what runs inside: start and end (s), CPU seconds, peak and peak GPU memory (MiB), versions.

    CPU time and memory are those of this process and the processes it waited for; memory is that of the largest one.
    Without ``ALLELEGRO_RECORD`` nothing is written. What runs inside does not record itself again.
    """
    start, record = time.time(), os.environ.pop(RECORD, "")
    try:
        yield
    finally:
        if record:
            os.environ[RECORD] = record
            parts = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
            line = {
                "start": start,
                "end": time.time(),
                "cpu_seconds": sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, parts)),
                "memory_mib": max(map(peak_memory, parts)),
                "gpu_memory_mib": gpu_memory(),
                "versions": versions_in_use(),
            }
            with Path(record).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def task_record() -> dict[str, str]:
    """The lines of all tools of this task together: versions, wall and CPU seconds, memory of the largest process."""
    path = Path(os.environ.get(RECORD, ""))
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    versions = versions_in_use()
    for line in lines:
        versions |= line["versions"]
    if not lines:
        return versions
    of = {name: [line[name] for line in lines] for name in lines[0]}
    return versions | {
        "cost.seconds": f"{max(of['end']) - min(of['start']):.1f}",
        "cost.cpu_seconds": f"{sum(of['cpu_seconds']):.1f}",
        "cost.memory_mib": f"{max(of['memory_mib']):.0f}",
        "cost.gpu_memory_mib": f"{max(of['gpu_memory_mib']):.0f}",
    }


def versions_in_use() -> dict[str, str]:
    """Allelegro, Python, every third-party package that this process has loaded, and the programs it asked about."""
    names = {name.partition(".")[0] for name in list(sys.modules)} - sys.stdlib_module_names - {"allelegro"}
    packages = {name: _package_version(name) for name in sorted(names) if not name.startswith("_")}
    known = {name: text for name, text in packages.items() if text}
    return {"allelegro": __version__, "python": python_version(), **known, **_programs}


def _package_version(name: str) -> str | None:
    """A loaded package's version, by its distribution or as it says itself; None when neither knows."""
    try:
        return version(name)
    except PackageNotFoundError:
        said = getattr(sys.modules.get(name), "__version__", None)
        return said if isinstance(said, str) else None


def program_version(name: str) -> str:
    """The first dotted number that ``name --version`` prints; it is recorded as used.

    "unknown" where it prints none, "absent" where there is no such program (a stub run needs none).
    """
    if not shutil.which(name):
        return "absent"
    said = subprocess.run([name, "--version"], capture_output=True, check=False).stdout.decode(errors="replace")
    found = re.search(r"\d+(\.\d+)+", said)
    _programs[name] = found.group() if found else "unknown"
    return _programs[name]
