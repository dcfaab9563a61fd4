"""Checks from outside that a deployment lost, doubled, reordered and miscalculated nothing.

The checker reads what clients were told was accepted, the topics, the tables, and what receivers got. It has its own
implementation of the published semantics (docs/semantics.md) and imports no other package of Touchline, so that one
mistake cannot hide in both.
"""
