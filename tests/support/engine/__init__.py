"""For tests of the stage engine."""
