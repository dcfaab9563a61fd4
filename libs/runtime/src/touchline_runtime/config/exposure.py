"""Who can reach a port, and under which host names."""

import ipaddress
import re
from dataclasses import dataclass

_HOST_AND_PORT = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::\d*)?")


@dataclass(frozen=True, slots=True)
class Exposure:
    """How a process is reached.

    Attributes:
        loopback: it listens on this machine alone.
        hosts: further host names it is reached under, lower-case.
        public_host: the host name of its public address; empty when none is configured.
        public_origin: scheme and host of its public address, as browsers write an origin.
        serves_metrics: ``/metrics`` is on this port, not on one of its own.
    """

    loopback: bool = True
    hosts: frozenset[str] = frozenset()
    public_host: str = ""
    public_origin: str = ""
    serves_metrics: bool = True

    def answers_to(self, host_header: str) -> bool:
        """Whether a request with that ``Host`` may be answered.

        DNS rebinding makes a browser send requests for an attacker's host name to this process. An IP address is always
        accepted, and so is a name without a dot (a service of a compose file, a machine of the local network), because
        no host on the internet can have one.
        """
        name = host_name(host_header)
        if not name or _is_address(name) or name in self.hosts or name == self.public_host:
            return True
        if "." not in name or name.endswith(".localhost"):
            return True
        return not self.loopback and not self.hosts

    def is_own_origin(self, origin: str, host_header: str) -> bool:
        """Whether an ``Origin`` is the page of this very process: the host that the request went to."""
        if self.public_origin and origin.lower() == self.public_origin:
            return True
        scheme, separator, rest = origin.partition("://")
        return bool(separator) and scheme in ("http", "https") and bool(rest) and rest.lower() == host_header.lower()


def host_name(host_header: str) -> str:
    """The name in a ``Host`` header, lower-case, without its port and the brackets of IPv6.

    The whole text where it is no host with a port: ``[::1].evil.example`` is not ``::1``.
    """
    text = host_header.strip().lower()
    found = _HOST_AND_PORT.fullmatch(text)
    return (found[1] or found[2]).removesuffix(".") if found else text


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
