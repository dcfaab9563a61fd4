"""Browser tests of the console. A package, so that fixtures can have its scope."""
