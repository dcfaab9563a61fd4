#!/usr/bin/env bash
# Leaves a virtual environment in .venv with every command line of Touchline in it.
#
# Needs Python 3.11 or later (with venv) and nothing else. The first run downloads uv and the pinned wheels; what it
# downloads is cached in the user's cache folder, so a second clone works without the package registry. Where there is a
# C compiler it builds the compiled steps of the engine. When neither requirements.lock nor a pyproject.toml nor a .pyx
# file changed since the last run, it does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

UV_VERSION=0.13.9
cache="${XDG_CACHE_HOME:-$HOME/.cache}/touchline"
tools="$cache/tools/uv-$UV_VERSION"
export UV_NO_CONFIG=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE="${UV_LINK_MODE:-hardlink}"

say() { printf '\033[2m[setup]\033[0m %s\n' "$*" >&2; }
die() { printf '[setup] %s\n' "$*" >&2; exit 1; }

python=""
for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
    [ -n "$candidate" ] || continue
    if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python="$candidate"; break
    fi
done
[ -n "$python" ] || die "Python 3.11 or later is needed and none was found. Install it, or name it: make setup PYTHON=/path/to/python3.11"

members=(libs/schemas libs/runtime libs/partitions libs/devstack libs/demo libs/checker services/ingest services/stage-engine services/notifier services/console)
stamp=".venv/.touchline-setup"
want="$("$python" - "$PWD" "${members[@]}" <<'PY'
import hashlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
files = [root / "requirements.lock", root / "deploy/setup.sh", *(root / m / "pyproject.toml" for m in sys.argv[2:])]
files += [root / "deploy/build_compiled.py", *sorted(f for m in sys.argv[2:] for f in (root / m / "src").rglob("compiled_*.pyx"))]
# The root is part of it: editable installs point to this very folder.
print(hashlib.sha256(b"\0".join([str(root).encode(), *(f.read_bytes() for f in files)])).hexdigest())
PY
)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then exit 0; fi

if [ ! -x "$tools/bin/uv" ]; then
    say "installing uv $UV_VERSION into $tools (once for this user)"
    rm -rf "$tools"; mkdir -p "$(dirname "$tools")"
    "$python" -m venv "$tools" || die "python's venv module does not work here. On Debian and Ubuntu: apt-get install python3-venv"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" || {
        rm -rf "$tools"
        die "uv could not be downloaded. The first run needs the Python package registry (or pip configured for a mirror of it)."
    }
fi
uv="$tools/bin/uv"

say "virtual environment in .venv ($("$python" --version))"
[ -x .venv/bin/python ] || "$uv" venv --quiet --python "$python" .venv
rm -f "$stamp"
install() { "$uv" pip sync --quiet --python .venv/bin/python --require-hashes "$@" requirements.lock; }
say "installing $(grep -c '^[a-z0-9]' requirements.lock) pinned packages (the first time this takes a minute)"
install || {
    say "the package registry did not give everything; trying with what is cached"
    install --offline || die "the packages could not be installed: the registry is out of reach and the cache is not complete. Run it once with the registry in reach."
}
editables=()
for member in "${members[@]}"; do editables+=(-e "./$member"); done
"$uv" pip install --quiet --offline --python .venv/bin/python --no-deps --no-build-isolation "${editables[@]}"
# Of no importance to the set-up: without a C compiler the engine runs the same steps in Python.
.venv/bin/python deploy/build_compiled.py libs services 2>&1 | while read -r line; do say "$line"; done || true
printf '%s' "$want" > "$stamp"
say "ready: source .venv/bin/activate, or make help"
