"""Whether an HTTP client is a machine (a bot, a mail scanner, a privacy proxy) or a human's program, by what it sends.

The verdict errs towards human: a machine that is counted is one touchpoint too many, a customer who is not counted
seems to have left. So only agents that name themselves, and two fixed signatures of prefetching proxies, are machines.
Image proxies that fetch when a human opens (Gmail's GoogleImageProxy, Yahoo's) are not.

Needs the extra ``user-agents``.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from crawleruseragents import is_crawler

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

_PURPOSES = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_AHEAD = re.compile(r"prefetch|prerender|preview", re.IGNORECASE)


def is_machine(user_agent: object) -> bool:
    """Whether a user agent is a machine's. A missing user agent says nothing: human."""
    if not isinstance(user_agent, str) or not user_agent:
        return False
    agent = user_agent.strip()
    return agent.endswith(_GMAIL_PREFETCH) or _names_machine(agent[:_LONGEST_AGENT])


def fetches_ahead(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that nobody has asked for this yet: it prefetches or previews a page.

    Args:
        headers: names in lower case, or a mapping that ignores case.
    """
    return any(_AHEAD.search(headers.get(name) or "") is not None for name in _PURPOSES)


# The patterns take a quarter of a millisecond, and most requests come from few user agents.
@lru_cache(maxsize=4096)
def _names_machine(agent: str) -> bool:
    if agent == _APPLE_PRIVACY_PROXY:
        return True
    return not _HUMAN.search(agent) and (_NAMES_ITSELF.search(agent) is not None or is_crawler(agent))
