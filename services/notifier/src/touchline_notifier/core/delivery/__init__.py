"""How an action reaches the outside: signatures, retries, breakers, addresses, tokens. Pure: no clock, no I/O."""
