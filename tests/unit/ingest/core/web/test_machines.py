import pytest
from touchline_ingest.core.web.machines import is_judged, is_machine

SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    "agent",
    [
        "Mozilla/5.0",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0",
        "Barracuda Sentinel (EE)",
        "Mozilla/5.0 (compatible; Proofpoint URL Defense)",
        "python-requests/2.32.0",
        "curl/8.5.0",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "Mozilla/5.0 HeadlessChrome/120.0.0.0",
        # Known to the maintained list alone.
        "Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)",
        "WhatsApp/2.23.20.0",
    ],
)
def test_a_machine_is_told_by_its_agent(agent):
    assert is_machine(agent)


@pytest.mark.parametrize(
    "agent",
    [
        f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) {SAFARI} Mobile/15E148",
        "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
        "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
        "Mozilla/5.0 (Linux; Android 12; CUBOT X30) AppleWebKit/537.36 Chrome/120.0 Mobile",
        "Microsoft Outlook 16.0",
        "okhttp/4.12.0",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148 [FBAN/FBIOS;FBAV/440.0.0]",
        "",
        None,
        7,
    ],
)
def test_everybody_else_is_human(agent):
    assert not is_machine(agent)


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
