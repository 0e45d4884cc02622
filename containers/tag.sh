#!/usr/bin/env bash
# The tag of an image: a hash of its recipe and of its locks. containers/tag.sh core|align|torch|enformer
set -euo pipefail
cd "$(dirname "$0")"
declare -A locks=([core]=core [align]='core build align' [torch]='core torch' [enformer]='core torch enformer')
read -ra names <<< "${locks[$1]}"
names=("${names[@]/#/requirements/}")
cat Dockerfile "${names[@]/%/.txt}" | sha256sum | cut -c 1-12
