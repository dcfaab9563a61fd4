class Record:
    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    @property
    def headers(self) -> tuple[tuple[str, bytes | None], ...]: ...

def read_records(
    buffer: bytearray,
    begin: int,
    number: int,
    base_offset: int,
    first_timestamp: int,
    appended_at: int,
    timestamp_type: int,
) -> list[Record] | None: ...
