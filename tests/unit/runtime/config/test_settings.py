"""Settings: read from the environment, wrong ones explained with name and remedy."""

import hashlib

import pytest
from touchline_runtime.config.settings import ServiceSettings, is_loopback, read_settings
from touchline_runtime.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("TOUCHLINE_"):
            monkeypatch.delenv(name)


def test_a_command_lines_value_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHLINE_HTTP_PORT", "9001")
    assert read_settings(ServiceSettings).http_port == 9001
    assert read_settings(ServiceSettings, http_port=9002).http_port == 9002
    assert read_settings(ServiceSettings, http_port=None).http_port == 9001


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("HTTP_PORT", "70000", "TOUCHLINE_HTTP_PORT=70000"),
        ("HTTP_PORT", "http", "TOUCHLINE_HTTP_PORT=http"),
        ("LOG_LEVEL", "loud", "TOUCHLINE_LOG_LEVEL=loud"),
        ("PARTITIONS", "0", "TOUCHLINE_PARTITIONS=0"),
        ("TOPIC_PREFIX", "a b", "TOUCHLINE_TOPIC_PREFIX=a b"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d", "postgresql://user:password@host:port/database"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"TOUCHLINE_{name}", value)
    with pytest.raises(ConfigurationError) as refusal:
        read_settings(ServiceSettings)
    assert says in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_all_spellings_of_a_postgresql_address_are_one(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("TOUCHLINE_DATABASE_URL", f"{scheme}://u:p@h:5/d")
    assert read_settings(ServiceSettings).database_url.get_secret_value() == "postgresql://u:p@h:5/d"


def test_a_missing_address_says_how_to_get_one() -> None:
    with pytest.raises(ConfigurationError, match=r"TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS is not set.*touchline-devstack"):
        read_settings(ServiceSettings).need("kafka_bootstrap_servers")


def test_an_address_beyond_loopback_needs_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHLINE_HTTP_HOST", "0.0.0.0")
    with pytest.raises(ConfigurationError, match="no credentials are configured"):
        read_settings(ServiceSettings)
    monkeypatch.setenv("TOUCHLINE_API_TOKENS", "t0k3n")
    assert read_settings(ServiceSettings).http_host == "0.0.0.0"


def test_tokens_may_be_given_as_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(b"one").hexdigest()
    monkeypatch.setenv("TOUCHLINE_API_TOKENS", f"one, sha256:{digest.upper()},two")
    in_force = read_settings(ServiceSettings).access().in_force
    assert {token.sha256 for token in in_force.tokens} == {digest, hashlib.sha256(b"two").hexdigest()}


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("example.org", False)],
)  # fmt: skip
def test_loopback_is_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
