"""The content security policy of a page with inline scripts and styles: it allows these and nothing else.

The hashes are computed from the page's source, not from the response, so injected content has none.
"""

import base64
import hashlib
import re

_BLOCK = re.compile(r"<(script|style)\b[^>]*>(.*?)</\1>", re.DOTALL | re.IGNORECASE)


def page_policy(*sources: str, form_action: str = "'none'") -> str:
    """The policy (CSP level 3) of a page.

    Args:
        sources: the page's HTML, or the templates it is made of; scripts and styles in them have to be constant.
        form_action: where its forms may go, such as ``'self'``.
    """
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for source in sources:
        for kind, text in _BLOCK.findall(source):
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            hashes[kind.lower()].append(f"'sha256-{digest}'")
    allowed = {kind: " ".join(dict.fromkeys(found)) or "'none'" for kind, found in hashes.items()}
    return (
        f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; connect-src 'self'; "
        f"img-src 'self' data:; form-action {form_action}; base-uri 'none'; frame-ancestors 'none'"
    )
