"""Who runs a command line, for the audit log."""

import getpass
import os
from uuid import uuid4

from touchline_runtime.audit.entry import Actor


def command_line_actor() -> Actor:
    """The user of the operating system. The database's address makes them an operator."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"user {os.getuid()}"
    return Actor(f"{name} (command line)", "operator", str(uuid4()))
