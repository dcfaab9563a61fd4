"""Build the documentation site: ``make site``. Usage: build_site.py [FOLDER WITH zensical.toml].

Zensical loads the shim that search needs without a server from another host; the pages load our copy of it instead
(docs/assets, from npm's iframe-worker, MIT).
"""

import subprocess
import sys
import tomllib
from pathlib import Path

SHIM_ELSEWHERE = "https://unpkg.com/iframe-worker/shim"
SHIM = "assets/iframe-worker-1.0.4.js"


def main(root: Path) -> int:
    configuration = tomllib.loads((root / "zensical.toml").read_text())
    built = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=root, check=False)
    site = root / configuration["project"]["site_dir"]
    for page in site.rglob("*.html"):
        up = "../" * (len(page.relative_to(site).parts) - 1)
        page.write_text(page.read_text("utf-8").replace(SHIM_ELSEWHERE, up + SHIM), "utf-8")
    return built.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent))
