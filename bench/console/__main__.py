"""``python -m bench.console``: the console's benchmark at a chosen size, in a folder that keeps the tables."""

import argparse
import contextlib
import json
import tempfile
from pathlib import Path

from bench.console.measure import ASKED, CUSTOMERS, measured


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.console", description=__doc__)
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    parser.add_argument("--rounds", type=int, default=40, help="requests of each path after the first")
    parser.add_argument("--folder", type=Path, help="keep stack and tables here; default: a temporary folder")
    parser.add_argument("--only", choices=[*ASKED], action="append", help="which paths; default: all")
    parser.add_argument("--json", type=Path, help="write the figures to a file, too")
    arguments = parser.parse_args()
    kinds = {name: ASKED[name] for name in arguments.only or ASKED}
    with contextlib.ExitStack() as leaving:
        folder = arguments.folder or Path(leaving.enter_context(tempfile.TemporaryDirectory(prefix="touchline-bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        figures = measured(folder.resolve(), arguments.customers, arguments.rounds, kinds)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
