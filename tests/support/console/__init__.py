"""For tests of the console."""
