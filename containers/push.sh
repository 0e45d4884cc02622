#!/usr/bin/env bash
# Push the images that build.sh recorded in built.tsv: containers/push.sh REGISTRY, which ends with a slash.
# An image is published as REGISTRY/allelegro-NAME:TAG, the name that conf/containers.config gives it with --registry REGISTRY.
set -euo pipefail
cd "$(dirname "$0")"
registry=${1:?usage: containers/push.sh REGISTRY/, or make push REGISTRY=registry.example.org/group/}
[ -s built.tsv ] || { echo "error: nothing was built yet; make images BASE=debian:bookworm-slim" >&2; exit 1; }
cut -f 1 built.tsv | while read -r name; do
    published="${registry%/}/${name##*/}"
    docker tag "$name" "$published"
    docker push "$published"
done
