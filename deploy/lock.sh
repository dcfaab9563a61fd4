#!/usr/bin/env bash
# Writes requirements.lock: every package pinned with its hashes, and without download addresses.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(ls -d "${XDG_CACHE_HOME:-$HOME/.cache}"/touchline/tools/uv-*/bin/uv | tail -n 1)
"$uv" export --quiet --all-packages --group dev --no-emit-workspace --no-annotate --no-header \
    --format requirements-txt --output-file requirements.lock
rm -f uv.lock  # it records download addresses
