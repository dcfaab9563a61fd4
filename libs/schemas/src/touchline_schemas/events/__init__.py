"""Events that the stage engine and the notifier publish, and dead letters."""
