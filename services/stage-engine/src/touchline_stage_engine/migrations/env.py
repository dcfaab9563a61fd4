"""Alembic's entry: migrations run on the connection that the service opened."""

from touchline_runtime.database import run_migrations

run_migrations()
