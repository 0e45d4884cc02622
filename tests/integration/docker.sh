#!/usr/bin/env bash
# Real containers: images built from a local base, and the pipeline in them (as a non-root user, a read-only project,
# no network, a path with spaces) gives the tidy metrics of the local run to 1e-6.
# BASE is an image with Python 3.11 or later; without it, one is made by debootstrap.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
command -v docker > /dev/null || { echo "SKIPPED: docker is not installed (Debian: docker.io)"; exit 77; }
export PATH="$root/.venv/bin:$PATH:/usr/sbin"
folder=$(mktemp -d /tmp/allelegro-docker.XXXXXX)
daemon=''
stop() { [ -z "$daemon" ] || kill "$daemon"; }
trap stop EXIT
if ! docker info > /dev/null 2>&1; then
    [ "$(id -u)" = 0 ] || { echo "SKIPPED: no Docker daemon answers, and starting one needs root"; exit 77; }
    dockerd > "$folder/dockerd.log" 2>&1 & daemon=$!
    for _ in $(seq 30); do docker info > /dev/null 2>&1 && break; sleep 1; done
fi
docker info > /dev/null 2>&1 || { echo "SKIPPED: the Docker daemon does not start, see $folder/dockerd.log"; exit 77; }

if [ -z "${BASE:-}" ]; then
    command -v debootstrap > /dev/null || { echo "SKIPPED: give BASE=an image, or install debootstrap"; exit 77; }
    debootstrap --variant=minbase --include=python3,python3-venv,procps,ca-certificates bookworm "$folder/base" > "$folder/debootstrap.log"
    tar -C "$folder/base" -c . | docker import - allelegro-base:local > /dev/null
    BASE=allelegro-base:local
fi
containers/build.sh "$BASE" core torch

mkdir "$folder/the project" "$folder/launch"
cp -r main.nf nextflow.config nextflow_schema.json modules conf bin "$folder/the project"
chmod -R a-w "$folder/the project"
cd "$folder/launch"
options=(-profile test --simulate tiny --shards 2 --models legnet,clipnet --device cpu -ansi-log false)
nextflow run "$folder/the project/main.nf" "${options[@]}" --outdir local -work-dir work-local
options[1]=test,docker
nextflow run "$folder/the project/main.nf" "${options[@]}" --outdir docker -work-dir work-docker

python - <<'END'
import sys
from pathlib import Path

import pandas as pd

files = sorted(path.relative_to("local") for path in Path("local").glob("*/**/*metrics*.tsv"))
worst = 0.0
for path in files:
    local, docker = (pd.read_csv(Path(run) / path, sep="\t") for run in ("local", "docker"))
    pd.testing.assert_frame_equal(local, docker, rtol=0, atol=1e-6)
    worst = max(worst, (local["value"] - docker["value"]).abs().max())
print(f"ok      {len(files)} tables of metrics agree, largest difference {worst:.2g}")
sys.exit(not files)
END
