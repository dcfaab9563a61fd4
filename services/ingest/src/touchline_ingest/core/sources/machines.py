"""Who opened or clicked: a human, or a machine (a bot, a mail scanner, a privacy proxy)?

The verdict errs towards human: a machine that is counted is one touchpoint too many, a customer who is not counted
seems to have left. So only agents that name themselves, and two fixed signatures of prefetching proxies, are machines.
Image proxies that fetch when a human opens (Gmail's GoogleImageProxy, Yahoo's) are not.
"""

import re

# Apple's Mail Privacy Protection fetches every image of every mail, opened or not, and says just this.
_APPLE_PRIVACY_PROXY = "Mozilla/5.0"
# Gmail's prefetch, before any human has seen the mail, poses as this browser of 2015.
_GMAIL_PREFETCH = "Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"

# Cubot makes phones.
_NAMES_ITSELF = re.compile(
    r"(?<!cu)bots?\b|crawl|spider|slurp|scan(?:ner|ning)|link ?check|link ?preview|bingpreview|facebookexternalhit"
    r"|headlesschrome|phantomjs|puppeteer|selenium"
    r"|^curl/|^wget/|^python|python-requests|python-urllib|^go-http-client|^java/|^ruby|^php|libwww-perl|^axios/"
    r"|barracuda|mimecast|proofpoint|safelinks|urldefense|bitdefender|trendmicro|trend micro|symantec|messagelabs"
    r"|fireeye|trellix|forcepoint|sophos|fortinet|ironport|zscaler|netcraft|virustotal|cloudmark|spamhaus",
    re.IGNORECASE,
)


def is_machine(user_agent: object) -> bool:
    """Whether a user agent is a machine's. No user agent says nothing: human."""
    if not isinstance(user_agent, str) or not user_agent:
        return False
    agent = user_agent.strip()
    if agent == _APPLE_PRIVACY_PROXY or agent.endswith(_GMAIL_PREFETCH):
        return True
    return _NAMES_ITSELF.search(agent[:1000]) is not None
