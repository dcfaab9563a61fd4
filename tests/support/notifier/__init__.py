"""For tests of the notifier."""
