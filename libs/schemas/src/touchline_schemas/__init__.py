"""The contract between Touchline's services, and with everybody who posts or subscribes.

Event models, topic registry, keys and partitions. Depends on pydantic and the standard library alone, so that any
Python program can install it to produce or to read Touchline's events.
"""
