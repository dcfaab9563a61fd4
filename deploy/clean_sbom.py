"""Make a CycloneDX document reproducible: no serial number, no time, no download addresses. stdin to stdout."""

import json
import sys

bom = json.load(sys.stdin)
bom.pop("serialNumber", None)
bom["metadata"].pop("timestamp", None)
for component in bom["components"]:
    component.pop("externalReferences", None)
json.dump(bom, sys.stdout, indent=1, sort_keys=True)
sys.stdout.write("\n")
