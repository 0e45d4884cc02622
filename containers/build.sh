#!/usr/bin/env bash
# Build the images: containers/build.sh BASE [core align torch enformer]. Names, tags and digests are recorded in containers/built.tsv.
# CA_BUNDLE (a file), PIP_INDEX_URL, HTTP_PROXY, HTTPS_PROXY, REGISTRY (with its slash) and DOCKER_BUILD_OPTIONS are honoured.
set -euo pipefail
cd "$(dirname "$0")"
base=${1:?usage: containers/build.sh BASE [core align torch enformer], or make images BASE=debian:bookworm-slim}
shift
images=("$@")
[ ${#images[@]} -gt 0 ] || images=(core align torch) # enformer, which no task needs, when asked for
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' ../bin/allelegro/__init__.py)

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp Dockerfile requirements/{core,build,align,torch,enformer}.txt "$context"
cat "${CA_BUNDLE:-/dev/null}" > "$context/ca.crt"

for image in "${images[@]}"; do
    tag=$(./tag.sh "$image")
    name="${REGISTRY:-}allelegro-$image:$tag"
    # shellcheck disable=SC2086  # DOCKER_BUILD_OPTIONS is a list
    docker build ${DOCKER_BUILD_OPTIONS:-} --target "$image" --tag "$name" --build-arg BASE="$base" \
        ${PIP_INDEX_URL:+--build-arg PIP_INDEX_URL} ${HTTP_PROXY:+--build-arg HTTP_PROXY} ${HTTPS_PROXY:+--build-arg HTTPS_PROXY} \
        --label org.opencontainers.image.version="$version" --label org.opencontainers.image.revision="$tag" \
        --label org.opencontainers.image.base.name="$base" "$context"
    digest=$(docker image inspect --format '{{.Id}}' "$name")
    touch built.tsv
    { grep -v "^$name	" built.tsv || true; printf '%s\t%s\n' "$name" "$digest"; } | sort > built.tsv.new
    mv built.tsv.new built.tsv
done
cat built.tsv
