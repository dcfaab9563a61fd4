"""A small disk for PostgreSQL: a tmpfs that is full at will and has space again.

It is mounted in a mount namespace of the campaign's own, so that nothing stays mounted however the campaign ends. This
needs Linux and the right to mount (root); without it the campaign says why and leaves the fault out.
"""

import asyncio
import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

from touchline_devstack.stack import Stack

_NEW_MOUNT_NAMESPACE = 0x00020000
_SIZE = 1 << 31
_ROOM = 64 * 1024
"""Left when the disk is "full": less than one more page of each table."""


class NoDiskError(Exception):
    """Why there is no small disk."""


def own_mounts() -> None:
    """Enter a mount namespace of our own. Threads and processes started before stay outside: call it first.

    Raises:
        NoDiskError: not permitted, or not on this system.
    """
    if not sys.platform.startswith("linux"):
        raise NoDiskError("needs Linux")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNT_NAMESPACE) != 0:
        raise NoDiskError(f"unshare(CLONE_NEWNS): {os.strerror(ctypes.get_errno())}")
    _mount("--make-rprivate", "/")


class SmallDisk:
    """The disk with PostgreSQL's data.

    Attributes:
        full: whether nothing more fits.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.full = False

    @classmethod
    def under(cls, stack: Stack) -> "SmallDisk":
        """Move the data of a stack that is up onto a small disk.

        Raises:
            NoDiskError: mounting is not permitted, or PostgreSQL's data is not in the stack's folder.
        """
        folder = stack.settings.folder / "postgres"
        if not (folder / "PG_VERSION").exists():
            raise NoDiskError("PostgreSQL is not the embedded one")
        owner = folder.stat()
        stack.stop_postgres()
        moved = folder.with_name("postgres.moved")
        folder.rename(moved)
        folder.mkdir()
        try:
            _mount("-t", "tmpfs", "-o", f"size={_SIZE},mode=0700,uid={owner.st_uid},gid={owner.st_gid}", "pg", folder)
            subprocess.run(["cp", "-a", f"{moved}/.", str(folder)], check=True)
            shutil.rmtree(moved)
        except NoDiskError:
            folder.rmdir()
            moved.rename(folder)
            raise
        finally:
            stack.start_postgres()
        return cls(folder)

    def fill(self) -> None:
        """Leave no space. What is there may still be overwritten, as on a real disk."""
        found = os.statvfs(self._folder)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        _mount("-o", f"remount,size={used + _ROOM}", self._folder)
        self.full = True

    def free(self) -> None:
        """Have space again."""
        _mount("-o", f"remount,size={_SIZE}", self._folder)
        self.full = False

    async def is_full_for(self, seconds: float) -> None:
        """Be full for a while."""
        await asyncio.to_thread(self.fill)
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(self.free)

    def unmount(self) -> None:
        """Drop the data; the stack is down."""
        subprocess.run(["umount", str(self._folder)], check=False, capture_output=True)


def _mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoDiskError(done.stderr.strip())
