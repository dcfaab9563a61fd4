"""Keys: what a touchpoint is filed under."""

from touchline_schemas.identity import is_known, keys_of, rank


def keys(**given: str) -> list[str]:
    names = ("customer_id", "anonymous_id", "email", "external_id")
    return keys_of(**{name: given.get(name) for name in names}, source=given.get("source", "crm"))  # type: ignore[arg-type]


def test_the_first_present_of_the_four_is_the_key() -> None:
    everything = keys(customer_id="c-17", anonymous_id="a1", email="ada@example.org", external_id="deal-9")
    assert everything == ["c-17", "anon:a1", "email:ada@example.org", "ext:crm:deal-9"]
    assert keys(external_id="deal-9", email="ada@example.org")[0] == "email:ada@example.org"


def test_two_spellings_of_one_address_are_one_key() -> None:
    assert keys(email="  Ada@Example.ORG ") == keys(email="ada@example.org")


def test_a_customer_id_with_a_prefix_is_read_as_that_key() -> None:
    assert keys(customer_id="email:Ada@Example.org", email="ada@example.org") == ["email:ada@example.org"]
    assert not is_known(keys(customer_id="anon:a1")[0])


def test_external_ids_of_two_sources_are_two_keys() -> None:
    assert keys(external_id="9", source="crm") != keys(external_id="9", source="shop")


def test_an_anonymous_id_stands_for_a_person_before_an_address_does() -> None:
    assert sorted(["ext:a:1", "email:a@b", "anon:z", "c"], key=rank) == ["c", "anon:z", "email:a@b", "ext:a:1"]
