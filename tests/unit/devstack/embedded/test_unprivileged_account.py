"""What root gives up so that PostgreSQL can run as somebody else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from touchline_devstack.embedded.accounts import Account


def test_folders_above_are_opened_for_passing_through_and_for_nothing_more(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    data = closed / "open" / "data"
    data.mkdir(parents=True)
    data.chmod(0o700)
    closed.chmod(0o700)
    account = Account(os.getuid(), os.getgid())
    assert closed.resolve() in account.let_through(data)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o701
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert account.let_through(data) == []


def test_a_tree_installed_for_its_owner_alone_becomes_readable_and_keeps_what_can_be_run(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    program, text = tree / "bin" / "program", tree / "text"
    for path, mode in ((program, 0o700), (text, 0o600)):
        path.touch()
        path.chmod(mode)
    (tree / "bin").chmod(0o700)
    tree.chmod(0o700)
    Account(os.getuid(), os.getgid()).let_read(tree)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tree, tree / "bin", program, text)]
    assert modes == [0o705, 0o705, 0o705, 0o604]
