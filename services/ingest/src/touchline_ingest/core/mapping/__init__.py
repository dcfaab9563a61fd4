"""Mappings: from the names of others to the standard touchpoint types."""
