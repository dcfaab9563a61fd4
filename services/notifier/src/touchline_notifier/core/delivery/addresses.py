"""Which addresses a webhook may be sent to: the public internet, and what an operator allows by name.

A webhook's URL is an operator's input, so without a filter it could make this process connect to servers inside our own
network (server-side request forgery). The filter looks at the *resolved* address, at dial time: a name can point
anywhere, and somewhere else a second later.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(network), why)
    for network, why in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relays"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/96", "unspecified, loopback or IPv4-compatible"),
        ("64:ff9b::/96", "NAT64, which leads to IPv4"),
        ("64:ff9b:1::/48", "NAT64, which leads to IPv4"),
        ("100::/64", "discard-only"),
        ("2001::/23", "protocol assignments, Teredo among them"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4, which leads to IPv4"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "unique local"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")


@dataclass(frozen=True, slots=True)
class RefusedAddress:
    """An address that nothing is sent to."""

    address: Address
    why: str

    def __str__(self) -> str:
        return f"{self.address} is {self.why}"


def parse_networks(text: str) -> tuple[Network, ...]:
    """Read ``TOUCHLINE_DELIVERY_ALLOWED_NETWORKS``: networks in CIDR form, comma-separated.

    Raises:
        ValueError: one is not a network.
    """
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def refusal(address: Address, allowed: Iterable[Network] = ()) -> RefusedAddress | None:
    """Why nothing may be sent to an address, or None when it may."""
    # ::ffff:10.0.0.1 is 10.0.0.1 to the kernel that dials it.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    dialled = mapped or address
    if any(dialled in network for network in allowed if network.version == dialled.version):
        return None
    for network, why in _REFUSED:
        if network.version == dialled.version and dialled in network:
            return RefusedAddress(dialled, why)
    if dialled.version == 6 and dialled not in _GLOBAL_IPV6:
        return RefusedAddress(dialled, "outside global unicast")
    return None


def choose(resolved: Sequence[str], allowed: Sequence[Network]) -> tuple[list[Address], list[RefusedAddress]]:
    """Split resolved addresses into those that may be dialled, in the resolver's order, and those that may not."""
    may: list[Address] = []
    not_: list[RefusedAddress] = []
    for text in resolved:
        # A link-local address comes with its zone (fe80::1%eth0).
        address = ipaddress.ip_address(text.partition("%")[0])
        refused = refusal(address, allowed)
        if refused is None:
            may.append(address)
        else:
            not_.append(refused)
    return may, not_
