"""TCP ports for the servers that tests start."""

from touchline_devstack.embedded.ports import answers, free_port

__all__ = ["answers", "free_port"]
