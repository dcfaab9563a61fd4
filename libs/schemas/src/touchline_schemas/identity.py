"""Customer keys: what a touchpoint is filed under.

A customer is known by up to four identifiers. The key is the first present of ``customer_id``, ``anonymous_id``,
``email``, ``external_id``; the last three carry a prefix, so that no two kinds of identifier can collide::

    customer_id   "c-17"              c-17
    anonymous_id  "a1b2"              anon:a1b2
    email         " Ada@Example.org"  email:ada@example.org
    email         "ada@xn--bcher-kva.example"  email:ada@bücher.example
    external_id   "deal-9" of "crm"   ext:crm:deal-9

A ``customer_id`` that begins with such a prefix is read as that key. A key without a prefix is a *known* customer.
An identifier whose value is a placeholder (see ``placeholders.py``) is no key: the next one present is.
"""

import re
import unicodedata

from touchline_schemas.email_domains import normalise_domain
from touchline_schemas.placeholders import is_placeholder, is_placeholder_email

ANONYMOUS = "anon:"
EMAIL = "email:"
EXTERNAL = "ext:"

MAX_EMAIL = 254
"""Characters of an address."""
_ADDRESS = re.compile(r"[^@\s<>]+@[^@\s<>]+").fullmatch
_NAMED_ADDRESS = re.compile(r"[^<>]*<([^@\s<>]+@[^@\s<>]+)>\s*").fullmatch
_LONGEST_NAMED = 1000

_RANK = {ANONYMOUS: 1, EMAIL: 2, EXTERNAL: 3}


def normalise_email(email: str) -> str:
    """Trimmed, lower-cased and composed (NFC, RFC 6532 §3.1), the domain in its one spelling: two spellings of one
    address are one customer."""
    address = email.strip()
    if address.isascii():
        address = address.lower()
    else:
        local, at, domain = address.rpartition("@")
        # In a domain, a capital sigma at the end of a word is a small sigma too (UTS #46), not a final one.
        address = unicodedata.normalize("NFC", f"{local.lower()}{at}{''.join(map(str.lower, domain))}")
    local, at, domain = address.rpartition("@")
    found = f"{local}@{normalise_domain(domain)}" if at else address
    return found if len(found) <= max(MAX_EMAIL, len(address)) else address


def address_in(value: object) -> str | None:
    """The address that a value states, normalised: ``ada@example.org`` or ``Ada <ada@example.org>``.

    None where it states none, or a placeholder: ``null@null.com`` is nobody's, and replaces no address.
    """
    if not isinstance(value, str) or len(value) > _LONGEST_NAMED:
        return None
    named = _NAMED_ADDRESS(value)
    address = named[1] if named else value.strip()
    if len(address) > MAX_EMAIL or _ADDRESS(address) is None or is_placeholder_email(address):
        return None
    return normalise_email(address)


def prefix_of(key: str) -> str | None:
    """The prefix a key begins with (``anon:``, ``email:`` or ``ext:``), or None for a known customer's."""
    for prefix in _RANK:
        if key.startswith(prefix):
            return prefix
    return None


def is_known(key: str) -> bool:
    """Whether a key is a customer's own id, not a substitute for an unknown customer's."""
    return prefix_of(key) is None


def rank(key: str) -> tuple[int, str]:
    """Order among keys: known customers, then anonymous ids, e-mails and external ids; by code point within a kind.

    The least of a person's keys by this order is the person's key while no known customer is among them.
    """
    prefix = prefix_of(key)
    return (0 if prefix is None else _RANK[prefix], key)


def customer_key(customer_id: str) -> str:
    """The key of a posted ``customer_id``, normalised where it begins with a prefix."""
    if customer_id.startswith(EMAIL):
        return EMAIL + normalise_email(customer_id[len(EMAIL) :])
    return customer_id


def is_placeholder_key(key: str) -> bool:
    """Whether a key's value, behind its prefix, is a placeholder."""
    if key.startswith(ANONYMOUS):
        return is_placeholder(key[len(ANONYMOUS) :])
    if key.startswith(EMAIL):
        return is_placeholder_email(key[len(EMAIL) :])
    if key.startswith(EXTERNAL):
        return is_placeholder(key[len(EXTERNAL) :].partition(":")[2])
    return is_placeholder(key)


def keys_of(
    *,
    customer_id: str | None,
    anonymous_id: str | None,
    email: str | None,
    external_id: str | None,
    source: str,
) -> list[str]:
    """All keys a touchpoint names, the one it is filed under first, without repeats and without placeholders.

    Empty where it names nobody.

    Args:
        source: the source's name; an external id has meaning within its source alone.
    """
    keys = []
    if customer_id:
        keys.append(customer_key(customer_id))
    if anonymous_id:
        keys.append(ANONYMOUS + anonymous_id)
    if email:
        keys.append(EMAIL + normalise_email(email))
    if external_id:
        keys.append(f"{EXTERNAL}{source}:{external_id}")
    return [key for key in dict.fromkeys(keys) if not is_placeholder_key(key)]
