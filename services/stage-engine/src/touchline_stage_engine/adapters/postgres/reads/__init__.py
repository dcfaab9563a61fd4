"""Read-only queries of the query API. Writes go through the fenced transaction of the partition's owner."""
