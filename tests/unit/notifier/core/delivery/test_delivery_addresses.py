"""The filter of addresses."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.delivery.addresses import choose, parse_networks, refusal


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.255.255.254", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "100.127.255.255", "198.18.0.1", "198.19.255.255", "240.0.0.1", "255.255.255.255", "0.0.0.0",
        "224.0.0.1", "192.0.0.170", "192.0.2.1", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::10.0.0.1",
        "fe80::1", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "2002:7f00:1::", "2002:a00:1::1", "64:ff9b::a00:1",
        "64:ff9b:1::1", "2001::1", "2001:db8::1", "100::1", "3fff::1", "5f00::1", "4000::1",
    ],
)  # fmt: skip
def test_an_address_inside_is_refused_with_a_reason(text: str) -> None:
    refused = refusal(ipaddress.ip_address(text))
    assert refused is not None
    assert refused.why


@pytest.mark.parametrize("text", ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "198.20.0.1",
                                  "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8"])  # fmt: skip
def test_a_public_address_is_not(text: str) -> None:
    assert refusal(ipaddress.ip_address(text)) is None


@given(st.ip_addresses())
def test_whatever_python_knows_to_be_no_public_address_is_refused(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if not address.is_global and not (address.version == 6 and address.ipv4_mapped):
        assert refusal(address) is not None


def test_a_network_allowed_by_name_opens_that_network_alone() -> None:
    allowed = parse_networks("127.0.0.0/8, fd00::/8")
    assert refusal(ipaddress.ip_address("127.0.0.1"), allowed) is None
    assert refusal(ipaddress.ip_address("::ffff:127.0.0.1"), allowed) is None
    assert refusal(ipaddress.ip_address("fd00::1"), allowed) is None
    assert refusal(ipaddress.ip_address("10.0.0.1"), allowed) is not None


def test_of_several_addresses_of_a_name_only_the_public_ones_are_dialled() -> None:
    may, refused = choose(["10.0.0.1", "1.1.1.1", "fe80::1%eth0"], ())
    assert [str(address) for address in may] == ["1.1.1.1"]
    assert [str(one.address) for one in refused] == ["10.0.0.1", "fe80::1"]


def test_what_is_no_network_is_an_error() -> None:
    with pytest.raises(ValueError, match="host bits"):
        parse_networks("10.0.0.1/8")
