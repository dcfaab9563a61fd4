"""Definitions that people publish while services run: what services that keep some have in common."""
