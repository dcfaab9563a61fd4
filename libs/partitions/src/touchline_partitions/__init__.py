"""Ownership of a partition: leases, fenced transactions, and the publication of an outbox, each record once."""
