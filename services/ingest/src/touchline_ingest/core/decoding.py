"""A body as it arrives: decompressed on the way, never more than the limit in memory; and what it is as JSON."""

import json
import math
import zlib
from typing import Any

import orjson

from touchline_ingest.core.refusals import BodyTooLarge, NotReadable, NotThisMediaType

_GZIP = 16 + zlib.MAX_WBITS


def too_large(limit: int) -> BodyTooLarge:
    """The refusal of a body beyond the limit."""
    return BodyTooLarge(f"the body is larger than {limit} bytes: send it in smaller parts")


class BodyDecoder:
    """Collects one body.

    Args:
        content_encoding: the header's value; empty, ``identity`` or ``gzip``.
        limit: bytes allowed, both as sent and once decompressed.

    Raises:
        NotThisMediaType: another encoding.
    """

    def __init__(self, content_encoding: str, limit: int) -> None:
        encoding = content_encoding.strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise NotThisMediaType(f"content-encoding {encoding[:40]!r} is not read here: send gzip, or none")
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0
        self._received = 0
        self._inflater = zlib.decompressobj(_GZIP) if "gzip" in encoding else None

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk.

        Raises:
            BodyTooLarge: as soon as there is more than the limit, without keeping the rest.
            NotReadable: it is not gzip.
        """
        self._received += len(chunk)
        if self._received > self._limit:
            raise too_large(self._limit)
        if self._inflater is None:
            self._keep(chunk)
            return
        while chunk:
            if self._inflater.eof:
                # RFC 1952 §2.2: a gzip file is a series of members.
                self._inflater = zlib.decompressobj(_GZIP)
            try:
                # One byte more than may be kept: enough to know, and a bomb never unfolds.
                self._keep(self._inflater.decompress(chunk, self._limit - self._size + 1))
            except zlib.error:
                raise NotReadable("content-encoding says gzip, and the body is not gzip") from None
            chunk = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail

    def finish(self) -> bytes:
        """The whole body.

        Raises:
            NotReadable: the gzip data ends in the middle.
        """
        if self._inflater is not None and not self._inflater.eof:
            raise NotReadable("the gzip data ends in the middle")
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            raise too_large(self._limit)
        if data:
            self._chunks.append(data)


def parse(body: bytes) -> Any:
    """A JSON text as a value. Half a surrogate pair passes here, so that it costs one item and not all of them.

    Raises:
        NotReadable: not JSON; NaN and Infinity aren't either.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"\\u" in body and "surrogate" in str(error):
            return _parse_tolerantly(body)
        raise NotReadable(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise NotReadable("the body is not JSON: it is nested too deep") from None


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
