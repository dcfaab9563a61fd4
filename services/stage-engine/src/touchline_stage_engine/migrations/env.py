"""Alembic's entry: migrations run on the connection that the service opened."""

from touchline_runtime.database.pools import run_migrations

run_migrations()
