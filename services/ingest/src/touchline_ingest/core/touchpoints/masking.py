"""Posted data with secrets and addresses masked, for people who may look and not more. Pure."""

import re
from typing import Any

MASK = "•••"
_SECRET = re.compile(
    r"pass(word|wd|phrase)?|secret|token|api_?key|write_?key|authori[sz]ation|cookie|credential|signature|card|cvc|iban"
    r"|ssn|account_number|^key$",
    re.IGNORECASE,
)
_ADDRESS_NAME = re.compile(r"e_?mail|phone|mobile|^ip$|ip_?address|street|address|postal|zip", re.IGNORECASE)
_EMAIL = re.compile(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+")
_IP = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
_DEEPEST = 30


def masked(value: Any, depth: int = 0) -> Any:
    """A JSON value whose secrets, e-mail and IP addresses, phone numbers and postal addresses are masked."""
    if depth > _DEEPEST:
        return MASK
    if isinstance(value, dict):
        return {masked_text(str(name)): _of_name(str(name), content, depth) for name, content in value.items()}
    if isinstance(value, list):
        return [masked(item, depth + 1) for item in value]
    return masked_text(value) if isinstance(value, str) else value


def masked_text(text: str) -> str:
    """A text whose e-mail and IP addresses are masked."""
    return _IP.sub(MASK, _EMAIL.sub(MASK, text))


def _of_name(name: str, content: Any, depth: int) -> Any:
    if content is None or isinstance(content, bool):
        return content
    if _SECRET.search(name):
        return MASK
    if _ADDRESS_NAME.search(name) and not isinstance(content, dict | list):
        return MASK
    return masked(content, depth + 1)
