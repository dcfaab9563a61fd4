"""Sequences in PostgreSQL."""
