"""Collects and decompresses a body, with never more than the limit in memory; parses JSON."""

import json
import math
import zlib
from typing import Any

import orjson
from touchline_schemas.touchpoint_fast_path import has_long_number

from touchline_ingest.core.touchpoints.refusals import BodyTooLarge, NotReadable, NotThisMediaType

_MARK = b"\xef\xbb\xbf"
_GZIP = 16 + zlib.MAX_WBITS
_PIECE = 1 << 16
MOST_MEMBERS = 1_000
"""Of a gzip body. Senders that compress in parts have a few; a body of empty members would take minutes to read."""


def too_large(limit: int) -> BodyTooLarge:
    """The refusal of a body beyond the limit."""
    return BodyTooLarge(f"the body is larger than {limit} bytes: send it in smaller parts")


class BodyDecoder:
    """Collects one body.

    What arrives is kept as it arrives: a compressed body is decompressed once it is complete, so that a connection that
    is held open costs what it has sent and no more.

    Args:
        content_encoding: the header's value; empty, ``identity`` or ``gzip``.
        limit: bytes allowed, both as sent and once decompressed.
        decompressed_limit: bytes allowed once decompressed, where that is less.

    Raises:
        NotThisMediaType: another encoding.
    """

    def __init__(self, content_encoding: str, limit: int, decompressed_limit: int | None = None) -> None:
        encoding = content_encoding.strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise NotThisMediaType(f"content-encoding {encoding[:40]!r} is not read here: send gzip, or none")
        self._limit = limit
        self._decompressed_limit = limit if decompressed_limit is None else min(limit, decompressed_limit)
        self._chunks: list[bytes] = []
        self._received = 0
        self._compressed = "gzip" in encoding
        self.compressed: bytes | None = None
        """Once finished: the body as it was sent, where that was compressed."""

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk.

        Raises:
            BodyTooLarge: as soon as there is more than the limit, without keeping the rest.
        """
        self._received += len(chunk)
        if self._received > self._limit:
            raise too_large(self._limit)
        if chunk:
            self._chunks.append(chunk)

    def finish(self) -> bytes:
        """The whole body, decompressed.

        Raises:
            BodyTooLarge: more than the limit once decompressed; no more than the limit is.
            NotReadable: it is not gzip, or ends in the middle.
        """
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks = []
        if not self._compressed:
            return body
        self.compressed = body
        return _inflated(body, self._decompressed_limit)


def _inflated(body: bytes, limit: int) -> bytes:
    out: list[bytes] = []
    size = members = 0
    inflater: Any = None
    # zlib copies what it leaves of its input at the end of every member: in pieces that is little.
    for begin in range(0, len(body), _PIECE):
        rest = body[begin : begin + _PIECE]
        while rest:
            if inflater is None or inflater.eof:
                # RFC 1952 §2.2: a gzip file is a series of members.
                members += 1
                if members > MOST_MEMBERS:
                    raise NotReadable(f"the gzip data has more than {MOST_MEMBERS} members: send one")
                inflater = zlib.decompressobj(_GZIP)
            try:
                # One byte more than may be kept: enough to know, and a bomb never unfolds.
                data = inflater.decompress(rest, limit - size + 1)
            except zlib.error:
                raise NotReadable("content-encoding says gzip, and the body is not gzip") from None
            size += len(data)
            if size > limit:
                raise too_large(limit)
            out.append(data)
            rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    if inflater is None or not inflater.eof:
        raise NotReadable("the gzip data ends in the middle")
    return out[0] if len(out) == 1 else b"".join(out)


def parse(body: bytes) -> Any:
    """A JSON text as a value. Half a surrogate pair passes here, so that it costs one item and not all of them.

    A byte order mark before it is ignored (RFC 8259 §8.1 allows that).

    Raises:
        NotReadable: not JSON; NaN and Infinity aren't either.
    """
    if body.startswith(_MARK):
        body = body[len(_MARK) :]
    try:
        return loads_exactly(body)
    except orjson.JSONDecodeError as error:
        if b"\\u" in body and "surrogate" in str(error):
            return _parse_tolerantly(body)
        if body[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in body[:4]:
            raise NotReadable("the body is not JSON: it is in UTF-16 or UTF-32: send UTF-8") from None
        raise NotReadable(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise NotReadable("the body is not JSON: it is nested too deep") from None


def loads_exactly(text: bytes) -> Any:
    """A JSON text as a value, integers as they are: orjson silently rounds one beyond 64 bits to a float.

    Such an integer is then refused with its touchpoint, since no reader downstream keeps it.

    Raises:
        orjson.JSONDecodeError: not JSON.
    """
    value = orjson.loads(text)
    return json.loads(text) if has_long_number(text) else value


def _parse_tolerantly(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), parse_constant=_not_json, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise NotReadable(f"the body is not JSON: {error}") from None


def _not_json(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is larger than a double")
    return number
