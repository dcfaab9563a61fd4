"""Builds the compiled steps: the extension module of every ``compiled_….pyx`` below the given folders, beside it.

    python deploy/build_compiled.py [--python PYTHON] FOLDER…

It needs a C compiler (``cc``, or ``$CC``) and the headers of PYTHON (``Python.h``); the Python that runs it needs
Cython. What it builds is kept in the user's cache folder under a hash of everything that it is built from, so that
another clone needs no Cython. Exit code 1, and one line that says why: they can't be built. Then none is there, and
the services run without.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

DESCRIBE = """
import json, platform, sysconfig
print(json.dumps({
    "include": sysconfig.get_path("include"),
    "suffix": sysconfig.get_config_var("EXT_SUFFIX"),
    "platform": [platform.platform(), platform.machine(), sysconfig.get_config_var("SOABI")],
}))
"""
FLAGS = ("-O2", "-shared", "-fPIC", "-fno-strict-aliasing", "-g0", "-w", "-DNDEBUG")
CYTHON = ("-3", "--no-docstrings", "--fast-fail")


class NotBuiltError(Exception):
    """Why nothing was built, and what to do."""


def build(folders: list[Path], python: str) -> int:
    """Build what is below the folders for a Python; the number of modules.

    Raises:
        NotBuiltError: a compiler or the headers are missing, or a module can't be compiled.
    """
    sources = sorted(source for folder in folders for source in folder.rglob("compiled_*.pyx"))
    target = json.loads(_run([python, "-c", DESCRIBE], "the Python does not run"))
    targets = {source: source.with_name(source.stem + target["suffix"]) for source in sources}
    try:
        _build(targets, target)
    except BaseException:
        # One of another version of its source may be there.
        for module in targets.values():
            module.unlink(missing_ok=True)
        raise
    return len(targets)


def _build(targets: dict[Path, Path], target: dict[str, Any]) -> None:
    compiler = os.environ.get("CC", "cc").split()
    if shutil.which(compiler[0]) is None:
        raise NotBuiltError(f"no C compiler ({compiler[0]}): on Debian and Ubuntu: apt-get install gcc libc6-dev")
    if not Path(target["include"], "Python.h").exists():
        raise NotBuiltError(f"no Python.h in {target['include']}: on Debian and Ubuntu: apt-get install python3-dev")
    about = [_run([*compiler, "--version"], "the C compiler does not run"), target["platform"], FLAGS, CYTHON]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "touchline" / "compiled"
    for source, module in targets.items():
        key = hashlib.sha256(json.dumps([*about, source.read_text()]).encode()).hexdigest()
        built = cache / f"{source.stem}-{key[:32]}{target['suffix']}"
        if not built.exists():
            _compile(source, built, compiler, target["include"])
        _put(built, module)


def _compile(source: Path, built: Path, compiler: list[str], include: str) -> None:
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        # Under its name alone: no path of this machine gets into the module.
        shutil.copy(source, Path(folder, source.name))
        c_source = f"{source.stem}.c"
        _run([sys.executable, "-m", "cython", *CYTHON, source.name, "-o", c_source], f"{source.name}", folder)
        _run([*compiler, *FLAGS, f"-I{include}", c_source, "-o", "built"], f"{source.name}", folder)
        Path(folder, "built").replace(built)


def _put(built: Path, target: Path) -> None:
    """Replace a module; a process that has the former one loaded keeps it."""
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copy(built, beside)
    beside.replace(target)


def _run(command: list[str], what: str, folder: str | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)  # noqa: S603  (our own)
    if done.returncode != 0:
        raise NotBuiltError(f"{what}: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]}")
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--python", default=sys.executable, help="the Python to build for; default: this one")
    parser.add_argument("folders", nargs="+", type=Path)
    arguments = parser.parse_args()
    try:
        number = build(arguments.folders, arguments.python)
    except (NotBuiltError, OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"compiled steps are not built, Python is used instead: {error}\n")
        return 1
    sys.stderr.write(f"{number} compiled steps are built\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
