"""Secrets in configuration files. The kind: a relative path is relative to the file that names it, in every file."""

from pathlib import Path
from typing import Any

import pytest
from touchline_ingest.bootstrap import configured_sources
from touchline_notifier.adapters.files.play_files import read_endpoints
from touchline_runtime.config.secrets import SecretError, SecretReader, empty_secret, relative_to, resolve_secret
from touchline_runtime.http.tokens import parse_api_tokens

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize("written", ["hook.key", "./hook.key", "keys/hook.key", "../hook.key", "absolute"])
def test_sources_and_endpoints_read_a_path_relative_to_their_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    folder, elsewhere = tmp_path / "configuration", tmp_path / "elsewhere"
    (folder / "keys").mkdir(parents=True)
    elsewhere.mkdir()
    path = str(tmp_path / "absolute.key") if written == "absolute" else written
    (folder / path).write_text(SECRET + "\n")
    monkeypatch.chdir(elsewhere)
    sources, endpoints = folder / "sources.yaml", folder / "endpoints.yaml"
    sources.write_text(f'sources: [{{name: hooks, kind: standard-webhooks, secret: {{file: "{path}"}}}}]\n')
    endpoints.write_text(f'endpoints: [{{name: crm, url: "https://crm.example", secret: {{file: "{path}"}}}}]\n')
    assert configured_sources(sources).entries["hooks"].config.secrets == (SECRET,)
    assert [secret.get_secret_value() for secret in read_endpoints(endpoints)["crm"].secret] == [SECRET]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        ({"value": "text"}, "text"),
        ({"env": "A"}, "first"),
        ([{"env": "A"}, "text", {"env": ["B", "A"]}], ["first", "text", "second", "first"]),
    ],
)
def test_every_form_of_a_secret_is_read(tmp_path: Path, value: Any, expected: Any) -> None:
    read = SecretReader({"A": "first", "B": "second"}, relative_to(tmp_path / "file.yaml"))
    assert resolve_secret(value, read) == expected


@pytest.mark.parametrize(
    "value", [None, 5, {}, {"env": "A", "file": "b"}, {"vault": "x"}, {"env": "MISSING"}, {"file": "no"}]
)
def test_what_is_no_secret_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(SecretError):
        resolve_secret(value, SecretReader({"A": "first"}, relative_to(tmp_path / "file.yaml")))


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "\t", "\u200b", "\ufeff", "\u00a0", ",", '""', "''", ";"),
        *("null", "None", "NULL", "nil", "undefined", '"null"', "<no value>", "<nil>", "(null)", "NaN"),
        *(
            "${A}",
            "$A",
            "$API_TOKEN",
            "$(A)",
            "%API_TOKEN%",
            "{{ .token }}",
            "{{token}}",
            "<%= token %>",
            "<your token>",
        ),
        *("whsec_", "Bearer"),
    ],
)
def test_what_unset_variables_leave_is_no_secret(text: str) -> None:
    """Kind: a deployment's template that fills in nothing. The process would accept a token that everybody knows."""
    assert empty_secret(text) is not None
    for tokens in (text, f"{text},{'a' * 32}", f"{'a' * 32},{text}"):
        if tokens:
            with pytest.raises(ValueError, match="token"):
                parse_api_tokens(tokens)


@pytest.mark.parametrize(
    "text", ["a", "$2b$12$abc", "p$A", "none-of-it", "nullify", "<a>b", "100%", "open-sesame", "ñ"]
)
def test_what_may_be_a_secret_is_one(text: str) -> None:
    assert empty_secret(text) is None
