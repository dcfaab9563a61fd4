import pytest
from touchline_ingest.core.web.machines import is_judged


@pytest.mark.parametrize(
    ("kind", "named", "judged"),
    [
        ("page_viewed", {"anonymous_id": "a1"}, True),
        ("page_viewed", {"anonymous_id": "a1", "customer_id": "undefined"}, True),
        ("page_viewed", {"customer_id": "anon:a1"}, True),
        ("page_viewed", {"customer_id": "c-1"}, False),
        ("page_viewed", {"email": "ada@example.org"}, False),
        ("ad_clicked", {"anonymous_id": "a1"}, True),
        ("email_opened", {"customer_id": "c-1"}, True),
        ("email_clicked", {"email": "ada@example.org"}, True),
        ("unsubscribed", {"anonymous_id": "a1"}, False),
        ("email_complained", {"email": "ada@example.org"}, False),
        ("purchased", {"anonymous_id": "a1"}, False),
        ("survey_answered", {"customer_id": "c-1"}, False),
    ],
)
def test_a_verdict_is_for_opens_clicks_and_anonymous_views(kind: str, named: dict[str, str], judged: bool) -> None:
    assert is_judged(kind, named) is judged
