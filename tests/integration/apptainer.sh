#!/usr/bin/env bash
# The images as Apptainer files, made from Docker's archives, and the pipeline in them as an ordinary user without setuid.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
export PATH="$root/.venv/bin:$PATH"
command -v apptainer > /dev/null || { echo "SKIPPED: apptainer is not installed"; exit 77; }
for image in core torch; do
    docker image inspect "allelegro-$image:$(containers/tag.sh $image)" > /dev/null 2>&1 \
        || { echo "SKIPPED: no Docker daemon with the images answers; make images builds them"; exit 77; }
done
folder=$(mktemp -d "/tmp/allelegro apptainer.XXXXXX")
user=()
if [ "$(id -u)" = 0 ]; then
    chown 65534:65534 "$folder"
    user=(setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$folder" NXF_HOME="$folder/home")
fi
cd "$folder"
for image in core torch; do
    name=allelegro-$image:$("$root/containers/tag.sh" $image)
    docker save "$name" > archive.tar
    "${user[@]}" apptainer build "$name" docker-archive:archive.tar > "build-$image.log" 2>&1 || { tail "build-$image.log"; echo "FAILED  $name"; exit 1; }
done
rm archive.tar
"${user[@]}" nextflow run "$root/main.nf" -profile test,apptainer --registry "$folder/" --simulate tiny --models scratch --score_models scratch \
    --pretrain_epochs 2 --finetune_epochs 2 --max_cpus 1 -ansi-log false > run.log 2>&1 || { tail -n 40 run.log; echo "FAILED  the run, see $folder"; exit 1; }
grep 'Allelegro finished' run.log
[ -s results/report/report.html ]
rm -rf "$folder"
