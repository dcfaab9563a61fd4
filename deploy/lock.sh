#!/usr/bin/env bash
# Writes the locks: every package pinned with its hashes, and without download addresses.
#   requirements.lock          everything, for development and tests
#   deploy/locks/<service>.txt the production dependencies of one image; build.txt: what builds the wheels
#   deploy/sbom/<service>.cdx.json  the same as a CycloneDX bill of materials
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(ls -d "${XDG_CACHE_HOME:-$HOME/.cache}"/touchline/tools/uv-*/bin/uv | tail -n 1)
export UV_PREVIEW_FEATURES=sbom-export
requirements=(--quiet --no-emit-workspace --no-annotate --no-header --format requirements.txt)
"$uv" export "${requirements[@]}" --all-packages --group dev --output-file requirements.lock
"$uv" export "${requirements[@]}" --only-group build --output-file deploy/locks/build.txt
for service in services/*/; do
    service=$(basename "$service")
    "$uv" export "${requirements[@]}" --package "touchline-$service" --no-dev --output-file "deploy/locks/$service.txt"
    "$uv" export --quiet --format cyclonedx1.5 --package "touchline-$service" --no-dev \
        | .venv/bin/python deploy/clean_sbom.py > "deploy/sbom/$service.cdx.json"
done
rm -f uv.lock  # it records download addresses
