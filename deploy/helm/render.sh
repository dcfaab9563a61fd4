#!/usr/bin/env bash
# Writes deploy/kubernetes/: the chart's manifests for each example, for those who don't use Helm.
set -euo pipefail
cd "$(dirname "$0")/../.."
for example in deploy/helm/examples/*.yaml; do
    helm template touchline deploy/helm/touchline --namespace touchline --kube-version 1.33.0 -f "$example" \
        > "deploy/kubernetes/$(basename "$example")"
done
