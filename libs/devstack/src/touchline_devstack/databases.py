"""Databases within the stack's PostgreSQL, one per isolated test."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from touchline_devstack.probes import query


def url_of(url: str, name: str) -> str:
    """The same server's URL with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def create_database(url: str, name: str) -> str:
    """Create a database on the server of `url` unless it is there; returns the new one's URL."""
    with suppress(asyncpg.DuplicateDatabaseError):
        query(url, f"CREATE DATABASE {_quoted(name)}", timeout=30)
    return url_of(url, name)


def drop_database(url: str, name: str) -> None:
    """Drop a database on the server of `url`, closing whatever connections it has. Nothing when it isn't there."""
    query(url, f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)", timeout=30)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
