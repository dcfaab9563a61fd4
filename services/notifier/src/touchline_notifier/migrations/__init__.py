"""The notifier's tables, by Alembic."""
