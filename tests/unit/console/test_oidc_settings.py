"""Sign-in by OpenID Connect is configured whole or not at all."""

import itertools
from pathlib import Path

import pytest
from touchline_console.entrypoints.cli.main import app
from touchline_console.settings import ConsoleSettings
from touchline_runtime.config.settings import read_settings
from touchline_runtime.console_tokens.keys import new_key, parse_public_keys, private_text, public_text
from touchline_runtime.errors import ConfigurationError
from typer.testing import CliRunner

KEY = private_text(new_key())
WHOLE = {
    "TOUCHLINE_OIDC_ISSUER": "https://id.example.org",
    "TOUCHLINE_OIDC_CLIENT_ID": "touchline",
    "TOUCHLINE_OIDC_CLIENT_SECRET": "of the client",
    "TOUCHLINE_OIDC_ROLES": "viewer=*",
    "TOUCHLINE_CONSOLE_KEY": KEY,
}


def settings(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> ConsoleSettings:
    for name in WHOLE:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return read_settings(ConsoleSettings)


@pytest.mark.parametrize("left_out", [one for n in range(1, 5) for one in itertools.combinations(WHOLE, n)], ids=len)
def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, left_out: tuple[str, ...]) -> None:
    given = {name: value for name, value in WHOLE.items() if name not in left_out}
    if given.keys() == {"TOUCHLINE_CONSOLE_KEY"}:
        assert not settings(monkeypatch, given).has_credentials()
        return
    with pytest.raises(ConfigurationError) as raised:
        settings(monkeypatch, given)
    for name in WHOLE:
        assert (f"{name} " in f"{raised.value},".replace(",", " ")) == (name in left_out)


def test_all_of_it_is_enough_to_listen_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, WHOLE | {"TOUCHLINE_HTTP_HOST": "0.0.0.0"}).has_credentials()
    with pytest.raises(ConfigurationError, match="no credentials"):
        settings(monkeypatch, {"TOUCHLINE_HTTP_HOST": "0.0.0.0", "TOUCHLINE_CONSOLE_PUBLIC_KEYS": KEY})


def test_secrets_come_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the file\n")
    (tmp_path / "key").write_text(KEY + "\n")
    files = {
        "TOUCHLINE_OIDC_CLIENT_SECRET_FILE": str(tmp_path / "secret"),
        "TOUCHLINE_CONSOLE_KEY_FILE": str(tmp_path / "key"),
    }
    without = {name: value for name, value in WHOLE.items() if f"{name}_FILE" not in files}
    read = settings(monkeypatch, without | files)
    assert read.client_secret() == "of the file"
    assert read.signing_key() is not None
    with pytest.raises(ConfigurationError, match="both set"):
        settings(monkeypatch, WHOLE | files)
    for text in ("", "\n", "null"):
        (tmp_path / "secret").write_text(text)
        with pytest.raises(ConfigurationError, match="TOUCHLINE_OIDC_CLIENT_SECRET_FILE"):
            settings(monkeypatch, without | files)
    (tmp_path / "secret").unlink()
    with pytest.raises(ConfigurationError, match="can't be read"):
        settings(monkeypatch, without | files)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("OIDC_ISSUER", "http://id.example.org", "https"),
        ("OIDC_ISSUER", "id.example.org", "issuer"),
        ("OIDC_ISSUER", "https://id.example.org?x=1", "issuer"),
        ("OIDC_SCOPES", "profile email", "openid"),
        ("OIDC_ROLES", "admin=everyone", "role=group"),
        ("CONSOLE_KEY", "short", "new-key"),
        ("OIDC_CLIENT_SECRET", "${SECRET}", "not expanded"),
    ],
)
def test_a_wrong_value_is_explained(monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as raised:
        settings(monkeypatch, WHOLE | {f"TOUCHLINE_{name}": value})
    assert KEY not in str(raised.value)
    assert "of the client" not in str(raised.value)


def test_the_command_prints_both_halves_of_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = CliRunner().invoke(app, ["new-key"]).stdout
    private, public = (line.partition("=") for line in printed.splitlines())
    assert (private[0], public[0]) == ("TOUCHLINE_CONSOLE_KEY", "TOUCHLINE_CONSOLE_PUBLIC_KEYS")
    key = settings(monkeypatch, WHOLE | {"TOUCHLINE_CONSOLE_KEY": private[2]}).signing_key()
    assert key is not None
    assert public_text(key) == public[2]
    assert len(parse_public_keys(public[2])) == 1
