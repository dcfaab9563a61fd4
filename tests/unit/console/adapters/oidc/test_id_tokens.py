"""ID tokens: only one that the provider signed, for this client, this sign-in and this time, counts."""

import base64
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey
from touchline_console.adapters.oidc.id_token import (
    LEEWAY,
    Expected,
    IdTokenError,
    UnknownKeyError,
    read_id_token,
    read_keys,
)

NOW = 1_800_000_000
RSA = RSAKey.generate_key(2048, {"kid": "one"})
CURVE = ECKey.generate_key("P-256", {"kid": "two"})
FOREIGN = RSAKey.generate_key(2048, {"kid": "one"})
KEYS = read_keys({"keys": [RSA.as_dict(private=False), CURVE.as_dict(private=False), {"kty": "unheard-of"}, None]})
EXPECTED = Expected("https://id.example.org", "touchline", "the-nonce", "")
CLAIMS: dict[str, Any] = {
    "iss": "https://id.example.org", "aud": "touchline", "sub": "ada", "nonce": "the-nonce", "iat": NOW,
    "exp": NOW + 300,
}  # fmt: skip


def signed(claims: Any, key: Any = RSA, algorithm: str = "RS256", **header: Any) -> str:
    header = {"alg": algorithm, "kid": "one"} | header
    header = {name: value for name, value in header.items() if value is not None}
    return jws.serialize_compact(header, json.dumps(claims).encode(), key, algorithms=[algorithm])


def read(text: object, now: float = NOW) -> dict[str, Any]:
    return read_id_token(text, KEYS, EXPECTED, now)


@pytest.mark.parametrize("kid", ["one", None])
@pytest.mark.parametrize("audience", ["touchline", ["touchline"]])
def test_a_token_of_the_provider_counts(kid: str | None, audience: Any) -> None:
    assert read(signed(CLAIMS | {"aud": audience}, kid=kid))["sub"] == "ada"
    assert read(signed(CLAIMS | {"aud": audience}, CURVE, "ES256", kid="two"))["sub"] == "ada"


def test_several_audiences_need_this_client_as_the_authorized_party() -> None:
    claims = CLAIMS | {"aud": ["touchline", "other"]}
    assert read(signed(claims | {"azp": "touchline"}))["sub"] == "ada"
    for azp in ("other", None, ["touchline"], ""):
        with pytest.raises(IdTokenError):
            read(signed(claims | {"azp": azp}))


@pytest.mark.parametrize(("seconds", "good"), [(-LEEWAY, True), (-LEEWAY - 1, False), (300 + LEEWAY - 1, True),
                                               (300 + LEEWAY, False)])  # fmt: skip
def test_clocks_may_be_a_minute_apart(seconds: int, good: bool) -> None:
    if good:
        assert read(signed(CLAIMS), NOW + seconds)["sub"] == "ada"
    else:
        with pytest.raises(IdTokenError, match="clock"):
            read(signed(CLAIMS), NOW + seconds)


OTHER = st.one_of(st.none(), st.booleans(), st.text(), st.integers(), st.lists(st.text(), max_size=2),
                  st.dictionaries(st.text(), st.text(), max_size=1))  # fmt: skip


@given(name=st.sampled_from(["iss", "aud", "nonce", "sub", "exp", "iat"]), value=OTHER)
def test_a_claim_of_another_kind_or_value_is_refused(name: str, value: Any) -> None:
    if name == "sub" and isinstance(value, str) and value:
        return
    if name in ("exp", "iat") and isinstance(value, int) and not isinstance(value, bool):
        value = NOW - LEEWAY - abs(value) if name == "exp" else NOW + LEEWAY + 1 + abs(value)
    with pytest.raises(IdTokenError):
        read(signed(CLAIMS | {name: value}))
    with pytest.raises(IdTokenError):
        read(signed({key: one for key, one in CLAIMS.items() if key != name}))


@given(
    made=st.sampled_from(["none", "None", "foreign", "hmac", "own key", "own address", "encrypted"]),
    kid=st.sampled_from(["one", "two", None]),
)
def test_nobody_but_the_provider_makes_one(made: str, kid: str | None) -> None:
    if made.lower() == "none":
        forged = [f"{_said(made, kid)}.", _said(made, kid)]
    elif made == "hmac":
        # The public key, which everybody may know, as the secret of HMAC.
        said, secret = _said("HS256", kid), RSA.as_pem(private=False)
        forged = [f"{said}.{_base64(hmac.digest(secret, said.encode(), 'sha256'))}"]
    elif made == "own key":
        forged = [signed(CLAIMS, FOREIGN, kid=kid, jwk=FOREIGN.as_dict(private=False))]
    elif made == "own address":
        forged = [signed(CLAIMS, FOREIGN, kid=kid, jku="https://evil.example/jwks.json")]
    elif made == "encrypted":
        forged = [f"{signed(CLAIMS)}.AAAA.AAAA"]
    else:
        forged = [signed(CLAIMS, FOREIGN, kid=kid)]
    for token in forged:
        with pytest.raises(IdTokenError):
            read(token)


def test_a_key_that_is_not_known_yet_is_told_apart() -> None:
    with pytest.raises(UnknownKeyError):
        read(signed(CLAIMS, kid="three"))


@given(st.one_of(st.text(), st.none(), st.binary(), st.integers(),
                 st.lists(st.text("ABCxyz019-_="), min_size=3, max_size=5).map(".".join)))  # fmt: skip
def test_any_text_is_no_token_and_no_fault(text: object) -> None:
    with pytest.raises(IdTokenError):
        read(text)


JWK_MEMBERS = st.sampled_from(["keys", "kty", "n", "e", "use"])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(JWK_MEMBERS, inner),
        max_leaves=10,
    )
)
def test_any_key_set_is_read(key_set: Any) -> None:
    assert read_keys(key_set) == ()


def test_keys_that_encrypt_check_nothing() -> None:
    assert read_keys({"keys": [RSA.as_dict(private=False, use="enc"), OctKey.generate_key().as_dict()]}) == ()


def _said(algorithm: str, kid: str | None) -> str:
    header = {"alg": algorithm} | ({} if kid is None else {"kid": kid})
    return ".".join(_base64(json.dumps(one).encode()) for one in (header, CLAIMS))


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
