"""Where customers reach the notifier: the address that unsubscribe links begin with."""

import ipaddress
from urllib.parse import quote, urlsplit

import idna

LONGEST = 400
"""Characters, so that a link fits into one line of a mail's header."""

EXAMPLE = "https://notify.example.org"


class BadPublicUrlError(ValueError):
    """Customers could not reach this address; the text says why."""


def parse_public_url(text: str) -> str:
    """The address in ASCII, without a slash at its end.

    It is https: RFC 8058 §3.1 asks for that, and mailbox providers ignore anything else. Plain http is taken for this
    machine alone (``http://127.0.0.1:8082``), for a trial.

    Raises:
        BadPublicUrlError: it is another.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise BadPublicUrlError(f"{error}: write an address such as {EXAMPLE}") from None
    host = parts.hostname or ""
    if parts.scheme not in ("https", "http") or not host:
        raise BadPublicUrlError(f"write an https address such as {EXAMPLE}")
    if parts.username is not None or parts.query or parts.fragment:
        raise BadPublicUrlError(f"write scheme, host and path alone, such as {EXAMPLE}")
    loopback = host == "localhost" or host.endswith(".localhost")
    try:
        address = ipaddress.ip_address(host)
        loopback = address.is_loopback
        written = f"[{address}]" if address.version == 6 else str(address)
    except ValueError:
        try:
            written = idna.encode(host, uts46=True).decode()
        except idna.IDNAError:
            raise BadPublicUrlError(f"{host!r} is not a host name: write an address such as {EXAMPLE}") from None
    if parts.scheme == "http" and not loopback:
        raise BadPublicUrlError(
            f"plain http reaches no mailbox provider: write an https address such as {EXAMPLE} (http is for this "
            "machine alone: http://127.0.0.1:8082)"
        )
    path = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=-._~")
    url = f"{parts.scheme}://{written}{f':{port}' if port is not None else ''}{path}"
    if len(url) > LONGEST:
        raise BadPublicUrlError(f"longer than {LONGEST} characters")
    return url
