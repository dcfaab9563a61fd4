"""Tokens and their roles. The kind: what an unset variable leaves behind is never a token, and never opens anything."""

import hashlib
import os
from pathlib import Path

import httpx
import pytest
from fastapi import Depends, FastAPI
from hypothesis import given
from hypothesis import strategies as st
from touchline_runtime.config.secrets import empty_secret
from touchline_runtime.config.settings import ServiceSettings, read_settings
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.http.app import build_app
from touchline_runtime.http.auth import Access, require_token
from touchline_runtime.http.credentials import presented_token
from touchline_runtime.http.tokens import Role, Token, Tokens, parse_api_tokens, read_tokens_file
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.health import Health

NOTHING = hashlib.sha256(b"").hexdigest()
A_LINE_BREAK = hashlib.sha256(b"\n").hexdigest()
LEFT_BY_UNSET_VARIABLES = [
    ",", ",,", " ", " , ", "\t", "one,", ",one", "one,,two", "sha256:", "sha256:,one", "${A}", "${A},${B}", "one,${B}",
    f"sha256:{NOTHING}", f"one,sha256:{A_LINE_BREAK}", "sha256:12ab", '""', "''", ":",
    "-", "--", "-,-", "_", "/", ".", "=", "*", "\\", ":-:", "\u200b", "\ufeff", "\u00a0", "$A", "$A,$B", "%A%",
    "<token>", "{{ token }}", "one-${B}", "${A:-}", "null", "None", "undefined",
    f"sha256:{hashlib.sha256(b',').hexdigest()}",
]  # fmt: skip


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TOUCHLINE_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
@pytest.mark.parametrize("value", LEFT_BY_UNSET_VARIABLES)
def test_tokens_with_an_empty_one_among_them_refuse_to_start(
    monkeypatch: pytest.MonkeyPatch, value: str, host: str
) -> None:
    monkeypatch.setenv("TOUCHLINE_API_TOKENS", value)
    monkeypatch.setenv("TOUCHLINE_HTTP_HOST", host)
    with pytest.raises(ConfigurationError, match="TOUCHLINE_API_TOKENS"):
        read_settings(ServiceSettings)


@given(st.text(alphabet=",:; \t\"'-_./|=+*&#@!~\u200b\u00a0", min_size=1))
def test_separators_and_blanks_are_no_token_however_many(text: str) -> None:
    with pytest.raises(ValueError, match="token 1 of"):
        parse_api_tokens(text)
    assert empty_secret(text) is not None


@pytest.mark.parametrize("value", [" ", ",", "-", "/", "${SECRET}", "a${SECRET}b", "$SECRET", "''", "null", "whsec_"])
def test_any_secret_setting_that_an_unset_variable_left_behind_refuses_to_start(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("TOUCHLINE_KAFKA_SASL_PASSWORD", value)
    with pytest.raises(ConfigurationError, match="TOUCHLINE_KAFKA_SASL_PASSWORD"):
        read_settings(ServiceSettings)


def test_the_error_about_a_variable_inside_a_secret_shows_nothing_else_of_it() -> None:
    assert "s3cret" not in str(empty_secret("s3cret${B}"))


@pytest.mark.parametrize(
    "text", ["a", "1", "ada:p-w", "-a-", "$2b$10$abcdefghijklmnopqrstuv", "nullable", "100%25", "a<b>c", "ü"]
)
def test_what_merely_contains_such_characters_is_a_secret(text: str) -> None:
    assert empty_secret(text) is None


FILE = """
tokens:
  - {{name: eve, role: viewer, token_sha256: "{viewer}"}}
  - {{name: ed, role: editor, token_sha256: "{editor}"}}
  - {{name: op, role: operator, token_sha256: "{operator}"}}
"""


def tokens_file(folder: Path) -> Path:
    file = folder / "tokens.yaml"
    file.write_text(FILE.format(**{role.label: hashed(role.label) for role in Role}))
    return file


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there are no tokens"),
        ("tokens: []", "there are no tokens"),
        ("tokens: {name: a}", "there are no tokens"),
        ("tokens: [a]", "is not a token"),
        ("tokens: [{name: a, role: viewer}]", "no SHA-256"),
        ("tokens: [{name: a, role: viewer, token_sha256: }]", "no SHA-256"),
        (f"tokens: [{{name: a, role: viewer, token_sha256: {NOTHING}}}]", "SHA-256 of an empty text"),
        (f"tokens: [{{name: a, role: admin, token_sha256: {hashed('a')}}}]", "'admin' is not a role"),
        (f"tokens: [{{name: '', role: viewer, token_sha256: {hashed('a')}}}]", "missing or empty"),
        (f"tokens: [{{name: a, role: viewer, token: x, token_sha256: {hashed('a')}}}]", "is not a field"),
        (
            f"tokens:\n- {{name: a, role: viewer, token_sha256: {hashed('a')}}}\n"
            f"- {{name: b, role: operator, token_sha256: {hashed('a')}}}",
            "also the token of 'a'",
        ),
    ],
)
def test_a_tokens_file_that_can_not_be_meant_refuses_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    file = tmp_path / "tokens.yaml"
    file.write_text(text)
    monkeypatch.setenv("TOUCHLINE_TOKENS_FILE", str(file))
    with pytest.raises(ConfigurationError, match=says):
        read_settings(ServiceSettings)


def test_a_tokens_file_is_credentials_enough_to_listen_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOUCHLINE_TOKENS_FILE", str(tokens_file(tmp_path)))
    monkeypatch.setenv("TOUCHLINE_HTTP_HOST", "0.0.0.0")
    in_force = read_settings(ServiceSettings).access().in_force
    assert [(token.name, token.role) for token in in_force.tokens] == [
        ("eve", Role.VIEWER), ("ed", Role.EDITOR), ("op", Role.OPERATOR),
    ]  # fmt: skip


def application(access: Access) -> FastAPI:
    app = build_app("t", version="1", about="", health=Health(), metrics=Metrics([]), access=access)

    @app.get("/read", dependencies=[Depends(require_token(access))])
    @app.post("/change", dependencies=[Depends(require_token(access))])
    @app.put("/edit", dependencies=[Depends(access.require(Role.EDITOR))])
    async def answer() -> str:
        return "done"

    return app


ALLOWED = {
    "viewer": {"GET /read"},
    "editor": {"GET /read", "PUT /edit"},
    "operator": {"GET /read", "PUT /edit", "POST /change"},
}


@pytest.mark.parametrize("role", ALLOWED)
async def test_a_role_may_do_what_it_includes_and_nothing_more(tmp_path: Path, role: str) -> None:
    app = application(Access(Tokens(file=tokens_file(tmp_path))))
    headers = {"Authorization": f"Bearer {role}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
        for request in ("GET /read", "PUT /edit", "POST /change"):
            method, path = request.split()
            answer = await client.request(method, path, headers=headers)
            assert answer.status_code == (200 if request in ALLOWED[role] else 403), request
        assert (await client.get("/read", headers={"Authorization": "Bearer nobody"})).status_code == 401


async def test_a_token_of_the_environment_is_an_operator(tmp_path: Path) -> None:
    app = application(Access(Tokens(parse_api_tokens("master"), tokens_file(tmp_path))))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
        assert (await client.post("/change", headers={"Authorization": "Bearer master"})).status_code == 200


def test_a_changed_file_is_in_force_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    file = tokens_file(tmp_path)
    now = 0.0
    tokens = Tokens(file=file, clock=lambda: now)
    assert tokens.in_force.find("viewer") == Token("eve", Role.VIEWER, hashed("viewer"))
    file.write_text("tokens: []")
    now = 2.0
    assert tokens.in_force.find("viewer") is not None
    file.write_text(f"tokens: [{{name: new, role: viewer, token_sha256: {hashed('fresh')}}}]")
    now = 4.0
    assert tokens.in_force.find("viewer") is None
    assert tokens.in_force.find("fresh") is not None


def test_a_missing_tokens_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.yaml: the file can't be read"):
        read_tokens_file(tmp_path / "missing.yaml")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic ", "Basic Og==", "Basic !!!", "Digest abc"])
def test_a_header_without_credentials_presents_no_token(header: str) -> None:
    assert presented_token(header) is None
