"""Leases of partitions, and the number of partitions that rows are filed by."""
