"""Tests. A package, so that the `tests` of an installed distribution (Canaille has one) does not take its name."""
