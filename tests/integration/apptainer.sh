#!/usr/bin/env bash
# The images as Apptainer files, made from Docker's archives, run by an ordinary user without setuid.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
command -v apptainer > /dev/null || { echo "SKIPPED: apptainer is not installed"; exit 77; }
docker info > /dev/null 2>&1 || { echo "SKIPPED: no Docker daemon answers; it makes the archives"; exit 77; }
export PATH="$root/.venv/bin:$PATH"
folder=$(mktemp -d /tmp/allelegro-apptainer.XXXXXX)
for image in core torch; do
    name="allelegro-$image:$(containers/tag.sh $image)"
    docker save "$name" > "$folder/$image.tar"
    apptainer build "$folder/$name" "docker-archive:$folder/$image.tar"
done
cd "$folder"
nextflow run "$root/main.nf" -profile test,apptainer --registry "$folder/" --simulate tiny --shards 2 --models scratch -ansi-log false
[ -s results/report/report.html ]
