"""Who opened or clicked: a human, or a machine (a bot, a mail scanner, a privacy proxy)?

The verdict errs towards human: a machine that is counted is one touchpoint too many, a customer who is not counted
seems to have left. So only agents that name themselves, and two fixed signatures of prefetching proxies, are machines.
Image proxies that fetch when a human opens (Gmail's GoogleImageProxy, Yahoo's) are not.

The verdict is for what a machine does by itself: opens, clicks and views by nobody known. An opt-out or a complaint
counts whichever program delivered it (a mailbox provider posts a one-click unsubscribe by itself), and what a server
posts of a known customer is the company's own word, whatever its HTTP client is called.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from crawleruseragents import is_crawler
from touchline_schemas.identity import ANONYMOUS

from touchline_ingest.core.sources.values import as_identifier

# Apple's Mail Privacy Protection fetches every image of every mail, opened or not, and sends only this.
_APPLE_PRIVACY_PROXY = "Mozilla/5.0"
# Gmail's prefetch, before any human has seen the mail, poses as this browser of 2015.
_GMAIL_PREFETCH = "Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"

# Fetch when a human opens or acts: the image proxies of Gmail and Yahoo, and the HTTP client of Android apps.
_HUMAN = re.compile(r"GoogleImageProxy|YahooMailProxy|^okhttp/")

# Beside the crawlers that the library knows: agents that only say what they are, HTTP clients of languages, and the
# scanners of mail security services. Cubot makes phones.
_NAMES_ITSELF = re.compile(
    r"(?<!cu)bots?\b|crawl|spider|scan(?:ner|ning)|link ?check|link ?preview|puppeteer|selenium"
    r"|^curl/|^wget/|^python|python-requests|python-urllib|^go-http-client|^java/|^ruby|^php|^axios/"
    r"|barracuda|mimecast|proofpoint|safelinks|urldefense|bitdefender|trendmicro|trend micro|symantec|messagelabs"
    r"|fireeye|trellix|forcepoint|sophos|fortinet|ironport|zscaler|netcraft|virustotal|cloudmark|spamhaus",
    re.IGNORECASE,
)
_LONGEST_AGENT = 1000


_ACTS = frozenset({"email_opened", "email_clicked"})
_ANONYMOUS_ACTS = ("_viewed", "_clicked")


def is_judged(touchpoint_type: str, draft: Mapping[str, Any]) -> bool:
    """Whether the verdict may be given of a touchpoint: an open, a click in a mail, or an anonymous view or click.

    Args:
        draft: the touchpoint's identifiers, among other fields.
    """
    if touchpoint_type in _ACTS:
        return True
    named = (as_identifier(draft.get(name)) for name in ("customer_id", "email", "external_id"))
    anonymous = all(one is None or one.startswith(ANONYMOUS) for one in named)
    return anonymous and touchpoint_type.endswith(_ANONYMOUS_ACTS)


def is_machine(user_agent: object) -> bool:
    """Whether a user agent is a machine's. A missing user agent says nothing: human."""
    if not isinstance(user_agent, str) or not user_agent:
        return False
    agent = user_agent.strip()
    return agent.endswith(_GMAIL_PREFETCH) or _names_machine(agent[:_LONGEST_AGENT])


# The patterns take a quarter of a millisecond, and most requests come from few user agents.
@lru_cache(maxsize=4096)
def _names_machine(agent: str) -> bool:
    if agent == _APPLE_PRIVACY_PROXY:
        return True
    return not _HUMAN.search(agent) and (_NAMES_ITSELF.search(agent) is not None or is_crawler(agent))
