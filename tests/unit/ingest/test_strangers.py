from touchline_ingest.core.rate import Rate
from touchline_ingest.core.strangers import Strangers

RATE = Rate(per_second=1, burst=3)


def test_an_address_is_told_of_a_few_wrong_keys_and_then_to_wait() -> None:
    strangers = Strangers(RATE)
    assert [strangers.knock("192.0.2.1", 0) for _ in range(5)] == [0, 0, 0, 1, 1]
    assert strangers.knock("192.0.2.2", 0) == 0
    assert strangers.knock("192.0.2.1", 1) == 0


def test_any_number_of_addresses_costs_a_known_amount_of_memory_and_who_keeps_knocking_stays_known() -> None:
    strangers = Strangers(RATE, most=100)
    for number in range(10_000):
        strangers.knock("192.0.2.1", 0)
        strangers.knock(f"10.0.{number // 256}.{number % 256}", 0)
    assert len(strangers) == 100
    assert strangers.knock("192.0.2.1", 0) == 1


def test_one_owner_of_ipv6_addresses_is_one_whichever_they_use() -> None:
    strangers = Strangers(RATE)
    for number in range(3):
        assert strangers.knock(f"2001:db8:0:1::{number}", 0) == 0
    assert strangers.knock("2001:db8:0:1:ffff::", 0) == 1
    assert strangers.knock("2001:db8:0:2::", 0) == 0
    assert strangers.knock("::ffff:192.0.2.1", 0) == 0
    assert strangers.knock("unix", 0) == 0
