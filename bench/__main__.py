"""``python -m bench [NAME …] [--quick]``: run benchmarks and print their reports; ``make bench`` runs all of them."""

import argparse
import importlib
import json
import sys
from pathlib import Path

NAMES = ("fold", "engine", "ingest", "shared_key", "console")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help=f"which ones: {', '.join(NAMES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="a tenth of the load: to see that it works, not to quote")
    parser.add_argument("--json", type=Path, help="write the figures to a file, too")
    arguments = parser.parse_args()
    figures: dict[str, object] = {}
    for name in arguments.names or NAMES:
        module = importlib.import_module(f"bench.{name}")
        print(f"== {name}: {(module.__doc__ or '').splitlines()[0]}", flush=True)
        figures[name] = module.run(quick=arguments.quick)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
