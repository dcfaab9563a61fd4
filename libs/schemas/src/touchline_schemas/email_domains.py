"""The domain of an e-mail address in one spelling: ``xn--bcher-kva.example`` and ``BÜCHER.example.`` are one domain.

The spelling is the readable one (``bücher.example``), in lower case and without a final dot. Labels are mapped as
UTS #46 maps them (``ß`` and ``ς`` stay, as since IDNA 2008), and an ``xn--`` label (RFC 5890) is decoded where the
decoded label has that very ASCII form. Any other label stays as it is.
"""

import re
import unicodedata

_DOTS = re.compile("[.\u3002\uff0e\uff61]")
_ASCII_FORM = "xn--"
_KEPT = "ßς"
_IGNORED = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2064\u206a-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0100-\U000e01ef]"
)
"""Characters that UTS #46 leaves out of a label: soft hyphens, fillers, variation selectors."""
_JOINERS = "-\u200c\u200d\u00b7\u30fb"


def normalise_domain(domain: str) -> str:
    """A domain in its one spelling.

    Args:
        domain: trimmed and in lower case.
    """
    if domain.isascii() and _ASCII_FORM not in domain and not domain.endswith("."):
        return domain
    found = ".".join(_label(label) for label in _DOTS.split(domain)).removesuffix(".")
    return found or domain


def _label(label: str) -> str:
    if not label.isascii():
        mapped = _mapped(label)
        if mapped.isascii() and mapped.startswith(_ASCII_FORM):
            return _label(mapped)
        return mapped if _is_label(mapped) and _mapped(mapped) == mapped else label
    if not label.startswith(_ASCII_FORM):
        return label
    try:
        decoded = label[len(_ASCII_FORM) :].encode().decode("punycode")
        same = not decoded.isascii() and _is_label(decoded) and _mapped(decoded) == decoded
        return decoded if same and _ASCII_FORM + decoded.encode("punycode").decode() == label else label
    except (UnicodeError, ValueError):
        return label


def _mapped(label: str) -> str:
    folded = unicodedata.normalize("NFKC", _folded(_IGNORED.sub("", label)))
    return unicodedata.normalize("NFC", _folded(folded))


def _folded(text: str) -> str:
    # NFKC makes a final sigma of the lunate one (U+03F2), UTS #46 a sigma.
    return "".join(one if one in _KEPT else one.casefold() for one in text.lower().replace("\u03f2", "σ"))


def _is_label(text: str) -> bool:
    return bool(text) and all(one.isalnum() or one in _JOINERS or unicodedata.category(one)[0] == "M" for one in text)
