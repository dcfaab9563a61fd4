"""Sign-in attacked: ID tokens that do not count, answers that are not to this sign-in, and foreign addresses."""

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import orjson
import pytest
from joserfc import jws
from joserfc.jwk import OctKey, RSAKey

from tests.support.console.identity_provider import CLIENT, new_key, sign_in, to_callback
from tests.support.console.oidc_world import OidcWorld
from tests.support.console.provider_proxy import ProviderProxy

pytestmark = pytest.mark.stack
Made = Callable[[dict[str, Any], dict[str, Any]], str]
"""(claims of the real token, the provider's key as a JWK) → another token."""


def signed(claims: dict[str, Any], by: dict[str, Any], algorithm: str = "RS256", **header: Any) -> str:
    header = {"alg": algorithm, "kid": by.get("kid"), "typ": "JWT"} | header
    key = OctKey.import_key(by["k"]) if by["kty"] == "oct" else RSAKey.import_key(by)
    return jws.serialize_compact(header, orjson.dumps(claims), key, algorithms=[algorithm])


def unsigned(claims: dict[str, Any], jwk: dict[str, Any]) -> str:
    parts = ({"alg": "none", "kid": jwk["kid"]}, claims)
    return ".".join(base64.urlsafe_b64encode(orjson.dumps(one)).decode().rstrip("=") for one in parts) + "."


def foreign(claims: dict[str, Any], jwk: dict[str, Any]) -> str:
    return signed(claims, new_key() | {"kid": jwk["kid"]})


def bringing_its_key(claims: dict[str, Any], jwk: dict[str, Any]) -> str:
    own = new_key() | {"kid": jwk["kid"]}
    return signed(claims, own, jwk=RSAKey.import_key(own).as_dict(private=False))


def by_public_key(claims: dict[str, Any], jwk: dict[str, Any]) -> str:
    public = base64.urlsafe_b64encode(RSAKey.import_key(jwk).as_pem(private=False)).decode().rstrip("=")
    return signed(claims, {"kty": "oct", "k": public, "kid": jwk["kid"]}, "HS256")


def with_claims(**changed: Any) -> Made:
    return lambda claims, jwk: signed(claims | changed, jwk)


FORGED: dict[str, Made] = {
    "without a signature": unsigned,
    "signed by another issuer's key": foreign,
    "signed by a key in its own header": bringing_its_key,
    "signed by the public key as a secret": by_public_key,
    "for another client": with_claims(aud=["another-client"]),
    "for several clients": with_claims(aud=[CLIENT, "another-client"]),
    "issued to another client": with_claims(aud=[CLIENT, "another-client"], azp="another-client"),
    "of another issuer": with_claims(iss="https://id.example.org"),
    "expired": with_claims(iat=int(time.time()) - 7_200, exp=int(time.time()) - 3_600),
    "of tomorrow": with_claims(iat=int(time.time()) + 86_400, exp=int(time.time()) + 90_000),
    "of another sign-in": with_claims(nonce="another-nonce"),
    "for another access token": with_claims(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    "of nobody": with_claims(sub=""),
    "with a signature that is changed": lambda claims, jwk: signed(claims, jwk)[:-8] + "AAAAAAAA",
    "no token at all": lambda claims, jwk: "not.a.token",
}


@pytest.fixture
def proxy(oidc: OidcWorld) -> Iterator[ProviderProxy]:
    yield oidc.proxy
    oidc.proxy.change = None


@pytest.mark.parametrize("kind", FORGED)
def test_an_id_token_that_does_not_count_opens_nothing(oidc: OidcWorld, proxy: ProviderProxy, kind: str) -> None:
    def change(answer: dict[str, Any]) -> dict[str, Any]:
        payload = answer["id_token"].split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=="))
        claims["groups"] = ["cn=ops,dc=example"]
        return answer | {"id_token": FORGED[kind](claims, oidc.provider.active[0])}

    proxy.change = change
    with oidc.browser() as http:
        answer = sign_in(http, oidc.url, "vera")
        assert answer.status_code == 401, answer.text
        assert "does not count" in answer.text
        assert "touchline_session" not in http.cookies
        assert http.get(oidc.url + "/customers").status_code == 303


def test_an_answer_without_an_id_token_opens_nothing(oidc: OidcWorld, proxy: ProviderProxy) -> None:
    proxy.change = lambda answer: {key: value for key, value in answer.items() if key != "id_token"}
    with oidc.browser() as http:
        assert sign_in(http, oidc.url, "vera").status_code == 401


def changed(address: str, **parameters: str | None) -> str:
    parts = urlsplit(address)
    given = dict(parse_qsl(parts.query)) | parameters
    query = urlencode({name: value for name, value in given.items() if value is not None})
    return parts._replace(query=query).geturl()


def test_a_callback_counts_once_and_in_the_browser_that_began(oidc: OidcWorld) -> None:
    with oidc.browser() as http:
        callback = to_callback(http, oidc.url, "vera")
        cookie = http.cookies["touchline_sign_in"]
        with oidc.browser() as other:
            assert other.get(callback).status_code == 400, "another browser"
        assert http.get(callback).status_code == 303
        first = http.cookies["touchline_session"]
        assert http.get(callback).status_code == 400, "again"
        with oidc.browser(cookies={"touchline_sign_in": cookie}) as thief:
            answer = thief.get(callback)
            assert answer.status_code == 400, "again, with what the browser kept"
            assert "used already" in answer.text
        assert http.cookies["touchline_session"] == first, "the session goes on"


@pytest.mark.parametrize(
    "parameters",
    [
        {"state": "another"},
        {"state": None},
        {"state": ""},
        {"code": None},
        {"code": ""},
        {"iss": "https://id.example.org"},
        {"iss": None},
    ],
    ids=str,
)
def test_a_changed_answer_is_refused(oidc: OidcWorld, parameters: dict[str, str | None]) -> None:
    with oidc.browser() as http:
        asked = len(oidc.proxy.asked)
        callback = to_callback(http, oidc.url, "vera")
        answer = http.get(changed(callback, **parameters))
        assert answer.status_code == 400
        assert "touchline_session" not in http.cookies
        assert "/oauth/token" not in oidc.proxy.asked[asked:], "no code is exchanged"


def test_a_code_of_another_sign_in_is_refused(oidc: OidcWorld) -> None:
    with oidc.browser() as attacker, oidc.browser() as victim:
        stolen = dict(parse_qsl(urlsplit(to_callback(attacker, oidc.url, "olga")).query))["code"]
        callback = to_callback(victim, oidc.url, "vera")
        answer = victim.get(changed(callback, code=stolen))
        # PKCE: the code belongs to another verifier.
        assert answer.status_code in (401, 503), answer.text
        assert "touchline_session" not in victim.cookies


def test_what_the_provider_refuses_is_said_and_stays_text(oidc: OidcWorld) -> None:
    with oidc.browser() as http:
        begun = http.get(oidc.url + "/sign-in/provider")
        asked = dict(parse_qsl(urlsplit(begun.headers["location"]).query))
        parameters = {
            "state": asked["state"],
            "iss": oidc.provider.issuer,
            "error": "access_denied",
            "error_description": "<script>alert(1)</script>",
        }
        answer = http.get(f"{oidc.url}/sign-in/callback?{urlencode(parameters)}")
        assert answer.status_code == 403
        assert "access_denied" in answer.text
        assert "<script>" not in answer.text


def test_the_request_has_what_the_flow_needs_and_no_secret(oidc: OidcWorld) -> None:
    with oidc.browser() as http:
        begun = http.get(oidc.url + "/sign-in/provider")
        asked = dict(parse_qsl(urlsplit(begun.headers["location"]).query))
        again = http.get(oidc.url + "/sign-in/provider?again=true")
    assert asked["code_challenge_method"] == "S256"
    assert asked["response_type"] == "code"
    assert asked["redirect_uri"] == f"{oidc.url}/sign-in/callback"
    assert {"state", "nonce", "code_challenge"} <= asked.keys()
    assert {"client_secret", "code_verifier"} & asked.keys() == set()
    other = dict(parse_qsl(urlsplit(again.headers["location"]).query))
    assert other["prompt"] == "login"
    assert all(other[name] != asked[name] for name in ("state", "nonce", "code_challenge"))
    cookie = begun.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert asked["nonce"].lower() not in cookie


@pytest.mark.parametrize("address", ["https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example"])
def test_signing_in_leads_to_the_console_alone(oidc: OidcWorld, address: str) -> None:
    with oidc.browser() as http:
        assert sign_in(http, oidc.url, "vera", address).headers["location"] == "/"


def test_other_sites_can_not_sign_anybody_out(oidc: OidcWorld) -> None:
    with oidc.browser() as http:
        sign_in(http, oidc.url, "vera")
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert http.post(oidc.url + "/sign-out", headers=headers).status_code == 403
        assert http.get(oidc.url + "/customers").status_code == 200


def test_on_https_the_cookies_are_for_https_alone(oidc: OidcWorld) -> None:
    service = oidc.console("on-https", TOUCHLINE_CONSOLE_URL="https://console.example.org")
    try:
        service.wait_ready()
        answer = httpx.get(service.url + "/sign-in/provider", timeout=60, trust_env=False)
        assert "secure" in answer.headers["set-cookie"].lower()
        asked = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
        assert asked["redirect_uri"] == "https://console.example.org/sign-in/callback"
    finally:
        service.terminate()
