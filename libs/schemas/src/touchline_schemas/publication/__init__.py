"""The published schemas: their export, and the check that a change is compatible."""
