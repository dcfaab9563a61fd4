from collections.abc import Sequence
from typing import Any

def encode_rows(rows: Sequence[tuple[Any, ...]], kinds: bytes) -> bytes | None: ...
