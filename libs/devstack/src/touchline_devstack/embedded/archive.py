"""An archive of Kafka's classes, already parsed, so that the JVM need not load them from 46 jars at each start.

On two busy cores the broker answers about 3 s after its start with it and 5 to 7 s without (JVM's class data sharing,
which changes nothing afterwards). It is made once, after the download, from a throw-away broker; it depends on the
Java and on the jars. Without it everything works, so a failure to create it is only reported.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from touchline_devstack.embedded.jars import JarCache
from touchline_devstack.embedded.java import find_java
from touchline_devstack.embedded.kafka import KafkaRuntime, KafkaServer
from touchline_devstack.embedded.locks import exclusive_lock
from touchline_devstack.embedded.state import ServerState
from touchline_devstack.errors import DevstackError
from touchline_devstack.progress import Narrator

_QUIET = ("-Xshare:auto", "-Xlog:cds=off", "-Xlog:cds*=off")


def kafka_runtime(jars: JarCache, narrator: Narrator) -> KafkaRuntime:
    """Java, jars and class archive, made ready. Raises DownloadError and NoJavaError."""
    java = find_java()
    jars.ensure(narrator)
    runtime = KafkaRuntime(java, jars.classpath())
    archive = jars.folder / f"classes-{_identity(java)}.jsa"
    failed = archive.with_suffix(".failed")
    if not archive.exists() and not failed.exists():
        with exclusive_lock(jars.folder / "lock", 900, narrator.say):
            if not archive.exists() and not failed.exists():
                narrator.say("archiving Kafka's classes for faster starts (a few seconds, once for this user)")
                try:
                    _make(archive, runtime)
                except (DevstackError, OSError, subprocess.SubprocessError) as error:
                    failed.write_text(f"{error}\n", "utf-8")
                    narrator.say(f"that failed, and starts stay slower: {str(error).splitlines()[0]}")
    if not archive.exists():
        return runtime
    return replace(runtime, options=(f"-XX:SharedArchiveFile={archive}", *_QUIET))


def _make(archive: Path, runtime: KafkaRuntime) -> None:
    """The wheel's Java has no archive of its own classes, on which Kafka's would build: that one comes first."""
    base = archive.with_suffix(".base.jsa")
    workshop = archive.with_suffix(".making")
    shutil.rmtree(workshop, ignore_errors=True)
    workshop.mkdir()
    command = [str(runtime.executable), "-Xshare:dump", f"-XX:SharedArchiveFile={base}"]
    subprocess.run(command, capture_output=True, check=True, timeout=120)  # noqa: S603 - our own command line
    fresh = workshop / "classes.jsa"
    options = (f"-XX:SharedArchiveFile={base}", f"-XX:ArchiveClassesAtExit={fresh}", *_QUIET)
    broker = KafkaServer(workshop, ServerState(), lambda: None, lambda: replace(runtime, broker_options=options))
    try:
        broker.start()
    finally:
        broker.stop()
    if not fresh.exists():
        raise DevstackError("Java wrote no archive")
    fresh.replace(archive)
    shutil.rmtree(workshop, ignore_errors=True)


def _identity(java: Path) -> str:
    """Names a Java by its class library, which is the same in every virtual environment."""
    modules = java.resolve().parent.parent / "lib" / "modules"
    about = modules.stat() if modules.exists() else java.resolve().stat()
    return hashlib.sha256(f"{about.st_size} {about.st_mtime_ns}".encode()).hexdigest()[:12]
