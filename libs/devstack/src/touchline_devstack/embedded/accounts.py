"""PostgreSQL refuses to run as root. Root therefore runs it as the user `nobody`, which exists everywhere and owns
nothing."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from touchline_devstack.errors import ServerError

UNPRIVILEGED_USER = "nobody"


@dataclass(frozen=True)
class Account:
    """Numeric user and group of the account a server runs as."""

    uid: int
    gid: int

    def own(self, folder: Path) -> None:
        """Give one (empty or new) folder to this account, private to it."""
        os.chown(folder, self.uid, self.gid)
        folder.chmod(0o700)

    def let_through(self, path: Path) -> list[Path]:
        """Make every folder above `path` traversable (x for others: enter, not list). Returns those it changed.

        Without it a clone below root's home (mode 0700) could not be reached by the unprivileged account.
        """
        changed = []
        for folder in path.resolve().parents:
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
                changed.append(folder)
        return changed

    def let_read(self, tree: Path) -> None:
        """Make everything in `tree` readable for others, and executable where it is so for its owner.

        Changes nothing unless the packages were installed under a umask that keeps others out.
        """
        if tree.stat().st_mode & stat.S_IROTH:
            return
        for path in (tree, *tree.rglob("*")):
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))


def postgres_account() -> Account | None:
    """The account for PostgreSQL: None (ourselves) unless we are root.

    Raises ServerError for a root without a user `nobody`.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError:
        raise ServerError(
            f"PostgreSQL refuses to run as root, and there is no user {UNPRIVILEGED_USER!r} to run it as. "
            "Create it, or run the stack as an ordinary user."
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)
