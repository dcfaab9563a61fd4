"""The stage engine's tables, by Alembic."""
