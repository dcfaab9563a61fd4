"""Reading what the engine knows, for the query API. Reads only: whatever changes a customer goes through the fence."""
