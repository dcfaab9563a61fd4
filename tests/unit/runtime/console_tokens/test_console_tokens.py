"""Console tokens: only the console's key makes one, for one service, one role and two minutes."""

import base64
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OctKey
from touchline_runtime.console_tokens.keys import (
    new_key,
    parse_private_key,
    parse_public_keys,
    private_text,
    public_text,
)
from touchline_runtime.console_tokens.tokens import (
    LEEWAY,
    SECONDS,
    ConsoleSigner,
    ConsoleTokenError,
    ConsoleVerifier,
)
from touchline_runtime.http.tokens import Role

NOW = 1_800_000_000
KEY, NEXT, FOREIGN = new_key(), new_key(), new_key()
VERIFIER = ConsoleVerifier([NEXT, KEY], "engine", clock=lambda: NOW)
CLAIMS: dict[str, Any] = {
    "iss": "touchline-console", "aud": "engine", "sub": "ada@example.org", "role": "viewer", "iat": NOW,
    "exp": NOW + SECONDS,
}  # fmt: skip


def signed(claims: Any, key: Any = KEY, algorithm: str = "Ed25519", **header: Any) -> str:
    payload = json.dumps(claims).encode()
    return jws.serialize_compact({"alg": algorithm} | header, payload, key, algorithms=[algorithm])


def at(now: float) -> ConsoleVerifier:
    return ConsoleVerifier([KEY], "engine", clock=lambda: now)


@pytest.mark.parametrize("key", [KEY, NEXT], ids=["current", "next"])
def test_a_token_of_any_of_the_keys_names_the_person_and_the_role(key: Any) -> None:
    token = VERIFIER.verify(ConsoleSigner(key, clock=lambda: NOW).token("ada@example.org", "editor", "engine"))
    assert (token.name, token.role) == ("oidc:ada@example.org", Role.EDITOR)


@pytest.mark.parametrize("seconds", [-LEEWAY, 0, SECONDS, SECONDS + LEEWAY - 1])
def test_clocks_may_be_a_minute_apart(seconds: int) -> None:
    assert at(NOW + seconds).verify(signed(CLAIMS)).role is Role.VIEWER


@pytest.mark.parametrize("seconds", [-LEEWAY - 1, SECONDS + LEEWAY, 10**9])
def test_a_token_of_another_time_is_refused(seconds: int) -> None:
    with pytest.raises(ConsoleTokenError, match="clocks"):
        at(NOW + seconds).verify(signed(CLAIMS))


CHANGED = st.one_of(
    st.tuples(st.just("iss"), st.one_of(st.none(), st.text(), st.lists(st.just("touchline-console"), min_size=1))),
    st.tuples(st.just("aud"), st.one_of(st.none(), st.sampled_from(["ingest", "notifier", "", ["engine"]]), st.text())),
    st.tuples(st.just("sub"), st.one_of(st.none(), st.sampled_from(["", " ", "a\x00", "a\nb", "a\u202eb"]),
                                        st.integers(), st.text(min_size=201))),
    st.tuples(st.just("role"), st.one_of(st.none(), st.sampled_from(["Operator", "operator ", 3, ["operator"], ""]))),
    st.tuples(st.just("exp"), st.one_of(st.none(), st.booleans(), st.text(), st.floats(allow_nan=False),
                                        st.integers(min_value=NOW + SECONDS + 1, max_value=2**60))),
    st.tuples(st.just("iat"), st.one_of(st.none(), st.booleans(), st.text(),
                                        st.integers(max_value=NOW - 1, min_value=0))),
)  # fmt: skip


@given(CHANGED)
def test_a_claim_that_differs_is_refused_even_with_the_right_signature(changed: tuple[str, Any]) -> None:
    name, value = changed
    with pytest.raises(ConsoleTokenError):
        VERIFIER.verify(signed(CLAIMS | {name: value}))
    without = {key: one for key, one in CLAIMS.items() if key != name}
    with pytest.raises(ConsoleTokenError):
        VERIFIER.verify(signed(without))


@given(role=st.sampled_from(["viewer", "editor", "operator"]), made=st.sampled_from(["none", "foreign", "hmac", "jwk"]))
def test_nobody_makes_one_without_the_key(role: str, made: str) -> None:
    claims = CLAIMS | {"role": role}
    if made == "none":
        parts = ({"alg": "none"}, claims)
        token = ".".join(base64.urlsafe_b64encode(orjson.dumps(one)).decode().rstrip("=") for one in parts) + "."
    elif made == "hmac":
        # The public key, which is no secret, as the secret of HMAC.
        token = signed(claims, OctKey.import_key(public_text(KEY) + "=" * 8), "HS256")
    else:
        header: dict[str, Any] = {"jwk": FOREIGN.as_dict(private=False)} if made == "jwk" else {}
        token = signed(claims, FOREIGN, **header)
    with pytest.raises(ConsoleTokenError):
        VERIFIER.verify(token)


@given(st.data())
def test_a_viewer_cannot_change_one(data: st.DataObject) -> None:
    token = signed(CLAIMS)
    header, payload, signature = token.split(".")
    said = f"{header}.{payload}"
    index = data.draw(st.integers(0, len(said) - 1))
    character = data.draw(st.sampled_from("AZaz09-_.=+/ \x00é").filter(lambda one: one != said[index]))
    bits = bytearray(base64.urlsafe_b64decode(signature + "=="))
    bits[data.draw(st.integers(0, len(bits) - 1))] ^= data.draw(st.integers(1, 255))
    other = base64.urlsafe_b64encode(bits).decode().rstrip("=")
    for changed in (f"{said[:index]}{character}{said[index + 1 :]}.{signature}", f"{said}.{other}", f"{said}."):
        with pytest.raises(ConsoleTokenError):
            VERIFIER.verify(changed)
    raised = orjson.dumps(CLAIMS | {"role": "operator"})
    with pytest.raises(ConsoleTokenError):
        VERIFIER.verify(".".join((header, base64.urlsafe_b64encode(raised).decode().rstrip("="), signature)))


@given(st.one_of(st.text(), st.lists(st.text("ABCxyz019-_"), min_size=3, max_size=5).map(".".join)))
def test_any_text_is_no_token_and_no_fault(text: str) -> None:
    with pytest.raises(ConsoleTokenError):
        VERIFIER.verify(text)


def test_a_key_pair_is_read_back_and_a_half_one_is_explained() -> None:
    private, public = private_text(KEY), public_text(KEY)
    verifier = ConsoleVerifier(parse_public_keys(f"{public_text(NEXT)}, {public}"), "engine", clock=lambda: NOW)
    token = ConsoleSigner(parse_private_key(private), clock=lambda: NOW).token("ada", "viewer", "engine")
    assert verifier.verify(token).name == "oidc:ada"
    for wrong, why in (
        (private[:-4], "bytes"),
        ("not base64!", "base64url"),
        (",", "bytes"),
        (f"{public},", "key 2 of 2"),
    ):
        with pytest.raises(ValueError, match=why) as raised:
            parse_public_keys(wrong)
        assert private[:-4] not in str(raised.value)
    assert parse_public_keys("") == ()
