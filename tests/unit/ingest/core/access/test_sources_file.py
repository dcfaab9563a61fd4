"""The sources file."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from touchline_ingest.adapters.files.sources_watch import load_sources
from touchline_ingest.core.access.configured_sources import Sources
from touchline_ingest.core.access.keys import key_hash
from touchline_ingest.core.access.keys_file import KeysFileError, with_new_key, without_key
from touchline_ingest.core.access.sources_file import SourcesFileError, read_sources
from touchline_ingest.core.sources.registry import build_registry
from touchline_runtime.config.secrets import SecretError
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.http.credentials import presented_key

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HASH = key_hash("k")
REGISTRY = build_registry()


def secret(how: str, name: str) -> str:
    known = {("env", "HOOK"): "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    if (how, name) not in known:
        raise SecretError(f"the environment variable {name} is not set")
    return known[how, name]


def sources_of(text: str) -> Sources:
    return read_sources(text, registry=REGISTRY, read_secret=secret)


def problems(text: str) -> str:
    with pytest.raises(SourcesFileError) as error:
        sources_of(text)
    return "\n".join(error.value.problems)


def test_a_source_opens_the_doors_of_its_kind_with_its_key() -> None:
    found = sources_of(f"sources:\n  - {{name: shop, kind: api, key_sha256: '{HASH}'}}")
    for door in ("touchpoints", "segment", "cloudevents", "web"):
        entry = found.find("k", door, NOW)
        assert entry is not None
        assert entry.name == "shop"
    assert found.find("other", "touchpoints", NOW) is None


def test_a_key_that_stands_in_pages_opens_no_more_than_a_page_needs() -> None:
    found = sources_of(f"sources:\n  - {{name: page, kind: web, key_sha256: '{HASH}'}}")
    assert found.find("k", "web", NOW)
    assert not any(found.find("k", door, NOW) for door in ("touchpoints", "segment", "cloudevents"))


def test_while_a_key_is_rotated_both_open_and_then_only_the_new_one() -> None:
    old, new = key_hash("old"), key_hash("new")
    found = sources_of(
        "sources:\n  - name: shop\n    kind: api\n    key_sha256:\n"
        f"      - {{sha256: '{old}', until: 2026-03-02T00:00:00Z}}\n      - '{new}'\n"
    )
    assert found.find("old", "touchpoints", NOW)
    assert found.find("new", "touchpoints", NOW)
    assert found.find("old", "touchpoints", NOW + timedelta(days=1)) is None
    assert found.find("new", "touchpoints", NOW + timedelta(days=1))


def test_secrets_come_from_the_environment_a_value_or_a_list_while_rotating() -> None:
    found = sources_of(
        "sources:\n  - name: hook\n    kind: standard-webhooks\n"
        "    secret: [{env: HOOK}, {value: whsec_AAAAAAAAAAAAAAAAAAAAAAAA}]\n"
    )
    assert found.entries["hook"].config.secrets == (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_AAAAAAAAAAAAAAAAAAAAAAAA",
    )


def test_what_is_no_field_of_ours_is_an_option_of_the_kind() -> None:
    found = sources_of(
        f"sources:\n  - {{name: s, kind: segment, key_sha256: '{HASH}', "
        "events: {Won: deal_won}, options: {other: 1}}"
    )
    assert found.entries["s"].config.options == {"events": {"Won": "deal_won"}, "other": 1}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{kind: api}", "source 1 (line 2): name"),
        ("{name: 'a b', kind: api}", "name"),
        ("{name: notifier, kind: api, key_sha256: '" + HASH + "'}", "reserved"),
        ("{name: s, kind: sengrid}", "did you mean sendgrid"),
        ("{name: s, kind: api}", "keys new"),
        ("{name: s, kind: api, key_sha256: secret}", "64 hex digits"),
        ("{name: s, kind: api, key_sha256: {sha256: '" + HASH + "', until: soon}}", "not a time: write 2026-12"),
        ("{name: s, kind: stripe, key_sha256: '" + HASH + "'}", "means nothing"),
        ("{name: s, kind: standard-webhooks, secret: {env: MISSING}}", "MISSING is not set"),
        ("{name: s, kind: standard-webhooks, secret: {enf: X}}", "{env: NAME}"),
        ("{name: s, kind: standard-webhooks}", "secret"),
        ("{name: s, kind: api, key_sha256: '" + HASH + "', rate_limt: 5}", "did you mean rate_limit"),
        ("{name: s, kind: api, key_sha256: '" + HASH + "', rate_limit: fast}", "touchpoints a second"),
        ("{name: s, kind: api, key_sha256: '" + HASH + "', max_bytes: -1}", "above zero"),
        ("{name: s, kind: api, key_sha256: '" + HASH + "', may_set_stage: 1}", "true or false"),
        ("{name: s, kind: web, key_sha256: '" + HASH + "', origins: [shop.example]}", "not an origin"),
        ("{name: s, kind: api, key_sha256: '" + HASH + "', types: purchased}", "list of texts"),
        ("just text", "write a mapping"),
    ],
)
def test_a_bad_entry_is_named_with_what_to_write_instead(entry: str, message: str) -> None:
    assert message in problems(f"sources:\n  - {entry}")


def test_everything_that_is_wrong_is_said_at_once() -> None:
    message = problems("sources:\n  - {name: a, kind: nope}\n  - {name: b, kind: api}\n")
    assert "source 'a'" in message
    assert "source 'b'" in message


def test_two_sources_share_neither_name_nor_key() -> None:
    entry = f"{{name: a, kind: api, key_sha256: '{HASH}'}}"
    assert "used twice" in problems(f"sources:\n  - {entry}\n  - {entry}")
    assert "also the key of 'a'" in problems(f"sources:\n  - {entry}\n  - {entry.replace('name: a', 'name: b')}")


@pytest.mark.parametrize("text", ["", "sources:", "sources: []", "other: 1", "[", "sources:\n\t- x", "42"])
def test_a_file_without_sources_is_refused(text: str) -> None:
    assert problems(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "sources:\n  - {name: a,\n    kind: api, kind: web}",
            "line 3: sources[0].kind: is written twice; keep one of the two",
        ),
        ("sources: [", "line 1: not YAML: "),
        ("sources:\n\t- x", "line 2: not YAML: "),
        ("sources:\n  - {name: a, kind: stripe, secret: !env KEY}", "line 2: sources[0].secret: has the tag !env"),
        (
            "sources:\n  - &a {name: a}\n  - {<<: *a, kind: api}",
            "line 3: sources[1].<<: merge keys are not part of YAML",
        ),
        (
            "sources:\n  - name: a\n    kind: api\n    max_bytes: -1",
            "source 'a' (line 4): max_bytes: write a whole number",
        ),
        ("sources:\n  - name: a\n    kind: api", "source 'a' (line 2): key_sha256: is missing"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, message: str) -> None:
    assert message in problems(text)


def test_event_names_may_look_like_numbers() -> None:
    text = (
        f"sources:\n  - {{name: s, kind: segment, key_sha256: '{HASH}', events: {{404: page_missing, true: agreed}}}}"
    )
    assert sources_of(text).entries["s"].config.options == {"events": {"404": "page_missing", "true": "agreed"}}


@pytest.mark.parametrize(
    "until", ["2026-03-02", "2026-03-02T00:00:00", "'2026-03-02 00:00:00'", "2026-03-02T02:00:00+02:00"]
)
def test_a_key_ends_at_a_day_or_a_time_in_utc_unless_it_says_otherwise(until: str) -> None:
    text = f"sources:\n  - {{name: s, kind: api, key_sha256: [{{sha256: '{HASH}', until: {until}}}]}}\n"
    rotated = with_new_key(text, name="s", kind="api", sha256=key_hash("n"), now=NOW, overlap=timedelta(days=7))
    for found in (sources_of(text), sources_of(rotated)):
        assert found.find("k", "touchpoints", datetime(2026, 3, 1, 23, 59, tzinfo=UTC))
        assert not found.find("k", "touchpoints", datetime(2026, 3, 2, tzinfo=UTC))


def test_names_are_read_as_yaml_one_point_two() -> None:
    found = sources_of(f"sources:\n  - {{name: on, kind: api, key_sha256: '{HASH}'}}")
    assert "on" in found.entries


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Bearer k", "k"),
        ("bearer  k ", "k"),
        ("Basic azo=", "k"),
        ("Basic Oms=", "k"),
        ("Basic !!", None),
        ("Basic /w==", None),
        ("Digest k", None),
        ("", None),
        ("Bearer", None),
    ],
)
def test_a_key_is_presented_as_bearer_or_basic(header: str, key: str | None) -> None:
    assert presented_key(header) == key


def test_a_new_key_keeps_the_old_one_for_the_overlap_and_the_file_its_comments() -> None:
    before = f"# our sources\nsources:\n  - name: shop   # the web shop\n    kind: api\n    key_sha256: '{HASH}'\n"
    after = with_new_key(before, name="shop", kind="api", sha256=key_hash("n"), now=NOW, overlap=timedelta(days=7))
    assert "# our sources" in after
    assert "# the web shop" in after
    found = sources_of(after)
    assert found.find("n", "touchpoints", NOW)
    assert found.find("k", "touchpoints", NOW + timedelta(days=6))
    assert not found.find("k", "touchpoints", NOW + timedelta(days=7))


def test_without_an_overlap_the_old_key_is_gone_at_once() -> None:
    before = f"sources:\n  - {{name: shop, kind: api, key_sha256: '{HASH}'}}\n"
    after = with_new_key(before, name="shop", kind="api", sha256=key_hash("n"), now=NOW, overlap=timedelta(0))
    assert not sources_of(after).find("k", "touchpoints", NOW)
    assert sources_of(after).find("n", "touchpoints", NOW)


def test_a_source_that_is_not_there_is_added_to_an_empty_file_too() -> None:
    after = with_new_key("", name="page", kind="web", sha256=HASH, now=NOW, overlap=timedelta(0))
    assert sources_of(after).entries["page"].kind == "web"


def test_a_key_is_revoked_by_the_beginning_of_its_hash_but_not_the_last_one() -> None:
    one = with_new_key("", name="s", kind="api", sha256=HASH, now=NOW, overlap=timedelta(0))
    two = with_new_key(one, name="s", kind="api", sha256=key_hash("n"), now=NOW, overlap=timedelta(days=1))
    after = without_key(two, name="s", sha256=HASH[:10])
    assert not sources_of(after).find("k", "touchpoints", NOW)
    assert sources_of(after).find("n", "touchpoints", NOW)
    with pytest.raises(KeysFileError, match="only key"):
        without_key(after, name="s", sha256=key_hash("n"))
    with pytest.raises(KeysFileError, match="no key"):
        without_key(two, name="s", sha256="ffff0000ffff")
    with pytest.raises(KeysFileError, match="no source"):
        without_key(two, name="t", sha256=HASH)


def test_a_file_that_is_missing_is_told_with_its_variable_and_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as reported:
        load_sources(tmp_path / "none here.yaml", REGISTRY)
    assert str(reported.value).startswith(f"TOUCHLINE_SOURCES_FILE={tmp_path}/none here.yaml: there is no such file")
    assert f"touchline-ingest keys new shop --file '{tmp_path}/none here.yaml'" in str(reported.value)
