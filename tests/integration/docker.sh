#!/usr/bin/env bash
# Real containers: images built from a local base, and the pipeline in them (an ordinary user, a read-only project, no network,
# paths with spaces) gives the tidy metrics of the local run to 1e-6.
# BASE is an image with Python 3.11 or later; without it, one is made by debootstrap. containers/build.sh names what else is honoured.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
command -v docker > /dev/null || { echo "SKIPPED: docker is not installed (Debian: docker.io)"; exit 77; }
export PATH="$root/.venv/bin:$PATH:/usr/sbin"
folder=$(mktemp -d "/tmp/allelegro docker.XXXXXX")
chmod 755 "$folder"
daemon=''
stop() { [ -z "$daemon" ] || { kill "$daemon" && wait "$daemon"; } 2> /dev/null || true; }
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
    rm -rf "$folder/base"
    BASE=allelegro-base:local
fi
make images BASE="$BASE" > "$folder/build.log" 2>&1 || { tail -n 20 "$folder/build.log"; echo "FAILED  make images, see $folder/build.log"; exit 1; }
failures=0
check() { if "${@:2}"; then echo "ok      $1"; else echo "FAILED  $1"; failures=$((failures + 1)); fi; }
for image in core align torch; do
    name=allelegro-$image:$(containers/tag.sh $image)
    docker image inspect --format "built   $name {{.Size}} bytes {{.Id}}" "$name"
    check "$image: no root, pip or compiler" docker run --rm --network none "$name" bash -c '[ "$(id -u)" != 0 ] && ! command -v pip gcc cc'
done
check "align: its programs answer" docker run --rm --network none "allelegro-align:$(containers/tag.sh align)" \
    bash -c 'for program in bowtie2 samtools cutadapt umi_tools; do $program --version || exit 1; done > /dev/null'

# As root, the containers' run is handed to a user without rights, who may ask the daemon and nothing else.
mkdir "$folder/the project" "$folder/launch"
cp -r main.nf nextflow.config nextflow_schema.json modules conf bin "$folder/the project"
find "$folder/the project" -name __pycache__ -prune -exec rm -rf {} +
chmod -R a+rX,a-w "$folder/the project"
cd "$folder/launch"
user=()
if [ "$(id -u)" = 0 ]; then
    mkdir docker && chown -R 65534:65534 .
    user=(setpriv --reuid=65534 --regid=65534 --groups="$(stat -c %g /var/run/docker.sock)" env HOME="$folder/launch" NXF_HOME="$folder/launch/home")
fi
options=(--simulate tiny --shards 2 --models legnet,clipnet --score_models legnet --pretrain_epochs 2 --finetune_epochs 2 --device cpu --max_cpus 1 -ansi-log false)
(cd docker && time "${user[@]}" nextflow run "$folder/the project/main.nf" -profile test,docker "${options[@]}") > docker.log 2>&1 \
    || { tail -n 40 docker.log; echo "FAILED  the run in containers, see $folder/launch"; exit 1; }
mkdir local
(cd local && time nextflow run "$folder/the project/main.nf" -profile test "${options[@]}") > local.log 2>&1 \
    || { tail -n 40 local.log; echo "FAILED  the local run, see $folder/launch"; exit 1; }
grep -h 'Allelegro finished' local.log docker.log

of_root=$(find docker/work -type f -user root | wc -l)
check "no file of the containers' run belongs to root" [ "$of_root" = 0 ]
check "every task ran in a container without a network" \
    [ "$(find docker/work -name .command.run | wc -l)" = "$(find docker/work -name .command.run -print0 | xargs -0 grep -l 'docker run .*--network none' | wc -l)" ]
check "the tidy metrics are those of the local run" python "$root/tests/integration/compare_metrics.py" local/results docker/results
[ "$failures" = 0 ] && rm -rf "$folder"
exit $((failures > 0))
