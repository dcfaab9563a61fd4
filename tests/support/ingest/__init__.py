"""For tests of the ingest service."""
