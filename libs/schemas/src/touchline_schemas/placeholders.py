"""Placeholder identifiers: what a program writes where it has no id. They identify no one, so they are no keys.

A page that stringifies a missing user posts ``"undefined"`` or ``"[object Object]"`` as its user id; a template that
was never filled in posts ``"{{ user.id }}"``; a device without an advertising id posts zeros. Everyone who shares such
a value would become one customer.
"""

import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote

WORDS = frozenset(
    {
        # How programming languages print a missing value.
        "undefined", "null", "nil", "none", "nan", "void", "nothing", "nullptr", "dbnull", "undef", "missing",
        "(null)", "<null>", "[null]", "(none)", "<none>", "<nil>", "(nil)", "(undefined)", "<undefined>", "<na>",
        "true", "false", "infinity", "-infinity", "inf", "-inf",
        "<undef>", "[undefined]", "[none]", "\\n", "void 0", "optional.empty", "optional(nil)", "<no value>",
        "%!s(<nil>)", "%s", "%d", "nul",
        # How they print an object, an empty list or an empty mapping.
        "object object", "object", "system.object", "[native code]", "{}", "[]", "()", "function",
        "symbol()",
        # What people and reports write.
        "n/a", "#n/a", "na", "n.a.", "unknown", "(unknown)", "<unknown>", "(not set)", "not set", "not_set", "not-set",
        "not available", "not provided", "(empty)", "<empty>", "empty", "blank", "(blank)", "<blank>",
        "anonymous", "anon", "guest", "not_authenticated", "unauthenticated", "-1", "nobody", "no id", "noid",
        "no user", "nouser", "no email", "noemail", "anonymous user", "guest user", "unknown user", "not logged in",
        "logged out",
        "loggedout", "n\\a",
        # How spreadsheets write an error.
        "#ref!", "#value!", "#name?", "#null!", "#num!", "#div/0!",
        # The build that emulators of Android report as the device's id.
        "lmy47d",
        # The field's own name instead of its value.
        "id", "userid", "user_id", "customerid", "customer_id", "anonymousid", "anonymous_id", "distinctid",
        "distinct_id", "externalid", "external_id", "email",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    }
)  # fmt: skip
"""Compared without case, and without blanks, quotes, punctuation and brackets around them."""

# Nothing but zeros and punctuation: "0", "0.0", "000", the nil UUID, "-", "…".
_ZEROS = re.compile(r"[0\s\-_.,:;/\\|*#?!+~=…–—()\[\]{}<>]*(?:0x0+)?").fullmatch
# A template's marker with nothing put in: {{ id }}, {% id %}, ${id}, <%= id %>, %%id%%, %ID%, *|ID|*, {id}, [[id]]; and
# :user_id, $userId, <id> where the name says that an id or an address belongs there.
_TEMPLATE = re.compile(
    r"\{\{.*\}\}|\{%.*%\}|[$#@]?\{.*\}|<%.*%>|%%.*%%|%\w+%|\*\|.*\|\*|\[\[.*\]\]|\[%.*%\]"
    r"|(?:[:$]|<(?=\w+>$))(?:\w*_)?(?:[Ii][Dd]|(?i:email))>?|(?:[:$]|<(?=\w+>$))\w*[a-z](?:I[Dd]|Email)>?",
    re.DOTALL,
).fullmatch
# How JavaScript prints an object of any class: [object Object], [object HTMLInputElement].
_OBJECT = re.compile(r"(?:\[object(?: [\w$. ]*)?\][\s,;|/-]*)+", re.IGNORECASE).fullmatch
# How it prints a function: [Function: id], function () { [native code] }.
_FUNCTION = re.compile(r"\[?function\b ?[^\w\s-].*", re.IGNORECASE | re.DOTALL).fullmatch
# A missing value behind what it should have been: user_undefined, "customer null", id:[object Object].
_PREFIXED = re.compile(
    r"(?:user|customer|client|account|member|contact|visitor|person|device|session|lead|profile|anonymous|anon|guest"
    r"|cust|usr|uid|uuid|id)(?:[\s_-]?id)?[\s\-_.:/|#=]+(?:undefined|null|nil|none|nan|\[object(?: [\w$. ]*)?\])",
    re.IGNORECASE,
).fullmatch
# Several missing values that were joined: undefined-undefined, null,null, "None None".
_JOINED = re.compile(
    r"(?:undefined|null|nil|none|nan)(?:[\s\-_.,:;/|+]*(?:undefined|null|nil|none|nan|0+))+", re.IGNORECASE
).fullmatch
# Most ids, and no placeholder but a few words: letters, digits, - and _, with a digit above zero, and an end that no
# missing value has.
_ORDINARY = re.compile(r"(?=[^1-9]*[1-9])[A-Za-z0-9][A-Za-z0-9_-]*(?<![dlneDLNE])", re.ASCII).fullmatch
_AROUND = " \t\r\n\"'`\u00a0\u200b\u200c\u200d\u2060\ufeff\u3000\u201c\u201d\u2018\u2019"

_PAIRS = {"(": ")", "[": "]", "{": "}", "<": ">"}
_PUNCTUATION = " _.,;:!*%$#@~^=|/\\-"
_BETWEEN_WORDS = re.compile(r"[\s_.-]+")


def _plain(text: str) -> str:
    """A text without the punctuation around it, one blank between its words: ``[USER_ID]`` as ``user id``."""
    while True:
        inner = text.strip(_PUNCTUATION)
        if len(inner) > 1 and _PAIRS.get(inner[0]) == inner[-1]:
            inner = inner[1:-1]
        if inner == text:
            return _BETWEEN_WORDS.sub(" ", text)
        text = inner


_LONGEST = max(map(len, WORDS)) + 8
_PLAIN_WORDS = frozenset(word for word in map(_plain, WORDS) if re.fullmatch("[a-z ]{2,}", word))


@lru_cache(maxsize=16_384)
def is_placeholder(value: str) -> bool:
    """Whether an identifier's value is a placeholder: a printed null, zeros, or a template that was not filled in."""
    if _ORDINARY(value) is not None:
        return value.casefold() in WORDS
    text = value.strip(_AROUND)
    if _is_printed(text):
        return True
    if "%" in text:
        # A value that was put into an address and never decoded: %5Bobject%20Object%5D.
        decoded = unquote(text).strip(_AROUND)
        return decoded != text and _is_printed(decoded)
    return "@" in text and is_placeholder_email(text)


def _is_printed(text: str) -> bool:
    if not text.isascii():
        # Full-width letters: a Japanese input method's "null".
        text = unicodedata.normalize("NFKC", text)
    if _ZEROS(text) is not None:
        return True
    if len(text) <= _LONGEST:
        word = text.casefold()
        if word in WORDS or _plain(word) in _PLAIN_WORDS:
            return True
    if text[0] in "{$#@<%*[:" and (_TEMPLATE(text) is not None or _OBJECT(text) is not None):
        return True
    if text[0] in "uUnN" and _JOINED(text) is not None:
        return True
    return _PREFIXED(text) is not None or _FUNCTION(text) is not None


@lru_cache(maxsize=16_384)
def is_placeholder_email(address: str) -> bool:
    """Whether an address is a placeholder: both its local part and its domain's name are placeholders
    (``null@null.com``), or a template that was not filled in is one of them (``${user}@example.org``).

    ``none@example.org`` may be a real address; the limit of shared keys applies to it.
    """
    text = address.strip(_AROUND)
    local, _, domain = text.rpartition("@")
    if not local:
        return "@" not in text and is_placeholder(text)
    if any(_TEMPLATE(part) is not None or _OBJECT(part) is not None for part in (local, domain)):
        return True
    return is_placeholder(local) and is_placeholder(domain.partition(".")[0])
