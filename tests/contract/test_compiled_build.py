"""The compiled steps: built where there is a compiler, kept for the next clone, and missed by nobody who has none."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy/build_compiled.py"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
SOURCES = sorted(path for base in ("libs", "services") for path in (ROOT / base).rglob("*.pyx"))
SMALL = "def answer():\n    return 42\n"


def build(folder: Path, cache: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)} | more
    command = [sys.executable, str(SCRIPT), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def needs_compiler() -> None:
    if shutil.which("cc") is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("a C compiler or Python.h is missing; on Debian and Ubuntu: apt-get install gcc python3-dev")


def test_a_module_is_built_beside_its_source_and_kept_for_the_next_clone(tmp_path: Path) -> None:
    needs_compiler()
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "compiled_small.pyx").write_text(SMALL)
    done = build(first, tmp_path / "cache")
    assert (done.returncode, done.stderr) == (0, "1 compiled steps are built\n")
    asked = "import compiled_small as small; print(small.answer(), small.__file__)"
    found = subprocess.run([sys.executable, "-c", asked], cwd=first, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["42", str(first / f"compiled_small{SUFFIX}")]
    # Without Cython: PYTHONPATH hides it.
    (tmp_path / "hidden/Cython").mkdir(parents=True)
    (tmp_path / "hidden/cython.py").write_text("raise SystemExit(9)\n")
    assert build(second, tmp_path / "cache", PYTHONPATH=str(tmp_path / "hidden")).returncode == 0
    assert (second / f"compiled_small{SUFFIX}").read_bytes() == (first / f"compiled_small{SUFFIX}").read_bytes()
    assert str(tmp_path).encode() not in (first / f"compiled_small{SUFFIX}").read_bytes(), (
        "no path of this machine is in it"
    )


@pytest.mark.parametrize("source", ["cdef int broken(:\n", SMALL])
def test_what_can_not_be_built_is_said_in_one_line_and_leaves_no_former_module(tmp_path: Path, source: str) -> None:
    (tmp_path / "compiled_small.pyx").write_text(source)
    former = tmp_path / f"compiled_small{SUFFIX}"
    former.write_bytes(b"of another version of the source")
    done = build(tmp_path, tmp_path / "cache", **({"CC": "no-such-compiler"} if source == SMALL else {}))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("compiled steps are not built, Python is used instead: ")
    assert not former.exists()


def test_the_setup_goes_on_without_them_and_an_image_does_not() -> None:
    setup, image = (ROOT / "deploy/setup.sh").read_text(), (ROOT / "deploy/image.sh").read_text()
    (line,) = re.findall(r"^.*build_compiled\.py libs services.*$", setup, re.MULTILINE)
    assert line.endswith("|| true")
    assert "set -eu" in image
    (line,) = re.findall(r"^.*build_compiled\.py --python.*$", image, re.MULTILINE)
    assert "||" not in line


def test_modules_of_other_packages_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other.pyx").write_text("cdef int broken(:\n")
    (tmp_path / f"other{SUFFIX}").write_bytes(b"built by its own package")
    build(tmp_path, tmp_path / "cache")
    build(tmp_path, tmp_path / "cache", CC="no-such-compiler")
    assert (tmp_path / f"other{SUFFIX}").read_bytes() == b"built by its own package"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_every_compiled_module_has_types_and_is_imported_where_it_may_be_missing(source: Path) -> None:
    assert source.name.startswith("compiled_"), "build_compiled.py builds no others"
    assert source.with_suffix(".pyi").exists()
    importing = [
        path.read_text()
        for base in ("libs", "services")
        for path in (ROOT / base).rglob("*.py")
        if re.search(rf"import .*\b{source.stem}\b|\b{source.stem} import", path.read_text())
    ]
    assert importing
    assert all("except ImportError" in text for text in importing)
