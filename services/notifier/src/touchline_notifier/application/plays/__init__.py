"""Plays that are published while notifiers run: publication, what every transaction decides by, and the checks."""
