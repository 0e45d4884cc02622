#!/usr/bin/env bash
# The tag of an image: a hash of its recipe and of its lock. containers/tag.sh core|torch|align
set -euo pipefail
cd "$(dirname "$0")"
lock=$([ "$1" = torch ] && echo torch || echo core)
cat Dockerfile "requirements/$lock.txt" | sha256sum | cut -c 1-12
