import pytest
from touchline_runtime.user_agents import fetches_ahead, is_machine

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
def test_a_machine_is_told_by_its_agent(agent: str) -> None:
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
def test_everybody_else_is_human(agent: object) -> None:
    assert not is_machine(agent)


@pytest.mark.parametrize(
    ("headers", "ahead"),
    [
        ({"sec-purpose": "prefetch"}, True),
        ({"sec-purpose": "prefetch;prerender"}, True),
        ({"purpose": "prefetch"}, True),
        ({"x-moz": "Prefetch"}, True),
        ({"x-purpose": "preview"}, True),
        ({"purpose": "", "accept": "prefetch"}, False),
        ({}, False),
    ],
)
def test_a_browser_that_fetches_ahead_says_so(headers: dict[str, str], ahead: bool) -> None:
    assert fetches_ahead(headers) is ahead
