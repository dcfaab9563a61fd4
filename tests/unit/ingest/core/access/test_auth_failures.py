from touchline_ingest.core.access.auth_failures import AuthFailures
from touchline_ingest.core.access.rate import Rate

RATE = Rate(per_second=1, burst=3)


def test_an_address_is_told_of_a_few_wrong_keys_and_then_to_wait() -> None:
    failures = AuthFailures(RATE)
    assert [failures.count_failure("192.0.2.1", 0) for _ in range(5)] == [0, 0, 0, 1, 1]
    assert failures.count_failure("192.0.2.2", 0) == 0
    assert failures.count_failure("192.0.2.1", 1) == 0


def test_any_number_of_addresses_costs_a_known_amount_of_memory_and_repeated_failures_stay_known() -> None:
    failures = AuthFailures(RATE, most=100)
    for number in range(10_000):
        failures.count_failure("192.0.2.1", 0)
        failures.count_failure(f"10.0.{number // 256}.{number % 256}", 0)
    assert len(failures) == 100
    assert failures.count_failure("192.0.2.1", 0) == 1


def test_one_owner_of_ipv6_addresses_is_one_whichever_they_use() -> None:
    failures = AuthFailures(RATE)
    for number in range(3):
        assert failures.count_failure(f"2001:db8:0:1::{number}", 0) == 0
    assert failures.count_failure("2001:db8:0:1:ffff::", 0) == 1
    assert failures.count_failure("2001:db8:0:2::", 0) == 0
    assert failures.count_failure("::ffff:192.0.2.1", 0) == 0
    assert failures.count_failure("unix", 0) == 0
