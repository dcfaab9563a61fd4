"""Keys: what a touchpoint is filed under."""

import idna
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from touchline_schemas.identity import address_in, is_known, keys_of, normalise_email, rank
from touchline_schemas.placeholders import is_placeholder_email


def keys(**given: str) -> list[str]:
    names = ("customer_id", "anonymous_id", "email", "external_id")
    return keys_of(**{name: given.get(name) for name in names}, source=given.get("source", "crm"))


def test_the_first_present_of_the_four_is_the_key() -> None:
    everything = keys(customer_id="c-17", anonymous_id="a1", email="ada@example.org", external_id="deal-9")
    assert everything == ["c-17", "anon:a1", "email:ada@example.org", "ext:crm:deal-9"]
    assert keys(external_id="deal-9", email="ada@example.org")[0] == "email:ada@example.org"


def test_two_spellings_of_one_address_are_one_key() -> None:
    assert keys(email="  Ada@Example.ORG ") == keys(email="ada@example.org")
    # Composed and decomposed: what macOS and Windows write for one name.
    assert (
        keys(email="JOSE\u0301@example.org") == keys(email="jos\u00e9@example.org") == ["email:jos\u00e9@example.org"]
    )


@pytest.mark.parametrize(
    "spelling",
    [
        "ada@bücher.example", "ADA@BÜCHER.example", "ada@xn--bcher-kva.example", "Ada@XN--BCHER-KVA.Example",
        "ada@bu\u0308cher.example", "ada@bücher.example.", "ada@bücher\u3002example", " ada@ｂücher.example ",
    ],
)  # fmt: skip
def test_two_spellings_of_one_domain_are_one_key(spelling: str) -> None:
    assert keys(email=spelling) == ["email:ada@bücher.example"]
    assert keys(customer_id=f"email:{spelling}") == ["email:ada@bücher.example"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@straße.example", "ada@strasse.example"),  # two domains since IDNA 2008
        ("ada@bücher.example", "ada@bucher.example"),
        ("Ädä@example.org", "ada@example.org"),
        ("bücher@example.org", "xn--bcher-kva@example.org"),  # before the @ nothing is encoded
    ],
)
def test_two_domains_or_mailboxes_are_two_keys(one: str, other: str) -> None:
    assert keys(email=one) != keys(email=other)


labels = st.text(
    st.one_of(
        st.characters(categories=["Ll", "Lo", "Nd"], max_codepoint=0x2FFF),
        st.sampled_from("\u00ad\u115f\u180b\u200b\u2060\u3164\ufe0f\uffa0"),  # UTS #46 leaves them out
    ),
    min_size=1,
    max_size=12,
)


@given(labels)
@example("0\u115f")
@example("\u03f9")
@example("\u0408\u03a3")
@example("b\u00adü\u200bcher")
def test_a_domain_and_its_form_for_the_network_are_one_key(label: str) -> None:
    try:
        ascii_form = idna.encode(label, uts46=True).decode()
    except idna.IDNAError:
        assume(False)
    assert normalise_email(f"a@{ascii_form}.example") == normalise_email(f"a@{label}.example")


@given(st.text(max_size=40))
def test_normalising_an_address_again_changes_nothing_and_makes_it_no_longer(text: str) -> None:
    for address in (f"a@{text}", f"a@xn--{text}", text):
        once = normalise_email(address)
        assert normalise_email(once) == once
        assert len(once) <= 254
        assert once.count("@") == address.strip().lower().count("@")


def test_a_customer_id_with_a_prefix_is_read_as_that_key() -> None:
    assert keys(customer_id="email:Ada@Example.org", email="ada@example.org") == ["email:ada@example.org"]
    assert not is_known(keys(customer_id="anon:a1")[0])


def test_external_ids_of_two_sources_are_two_keys() -> None:
    assert keys(external_id="9", source="crm") != keys(external_id="9", source="shop")


def test_an_anonymous_id_stands_for_a_person_before_an_address_does() -> None:
    assert sorted(["ext:a:1", "email:a@b", "anon:z", "c"], key=rank) == ["c", "anon:z", "email:a@b", "ext:a:1"]


@given(st.text(), st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}\.example", fullmatch=True))
def test_an_address_is_read_out_of_any_text_or_is_none(text: str, address: str) -> None:
    found = address_in(text)
    assert found is None or (address_in(found) == found and not is_placeholder_email(found))
    if not is_placeholder_email(address):
        assert address_in(f" {address.upper()} ") == address_in(f"Ada, Countess <{address}>") == address
    assert address_in(None) is address_in(7) is address_in(["a@b.c"]) is None
