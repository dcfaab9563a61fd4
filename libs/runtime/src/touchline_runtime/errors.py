"""The errors the runtime raises. Drivers' own are translated into these at the boundary, once.

::

    RuntimeFault
    ├── ConfigurationError   wrong settings or files: say what to write instead, exit code 2
    ├── PortInUseError       another process uses the HTTP port, exit code 2
    └── Unavailable          Kafka or PostgreSQL did not answer in time; trying again may help
"""


class RuntimeFault(Exception):  # noqa: N818  (the root of the tree: a fault, of which some are errors of the operator)
    """Anything the runtime itself reports."""


class ConfigurationError(RuntimeFault):
    """Settings or files are wrong. The text names what, where, and the remedy."""


class PortInUseError(ConfigurationError):
    """Another process listens on the port."""


class Unavailable(RuntimeFault):
    """Kafka or PostgreSQL did not answer in time."""
