# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The records of a Kafka batch (format 2), compiled: aiokafka makes every header's objects, and two objects a record.

Of the headers only the bytes are kept until somebody asks for them.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t, uint8_t


cdef const uint8_t *read_varint(const uint8_t *at, const uint8_t *end, int64_t *found) noexcept:
    """A number as the protocol writes it (zigzag); NULL where it does not end."""
    cdef uint64_t value = 0
    cdef int shift = 0
    while at < end and shift < 64:
        value |= <uint64_t>(at[0] & 0x7f) << shift
        at += 1
        if not at[-1] & 0x80:
            found[0] = <int64_t>(value >> 1) ^ -<int64_t>(value & 1)
            return at
        shift += 7
    return NULL


cdef const uint8_t *read_bytes(const uint8_t *at, const uint8_t *end, const uint8_t **data, int64_t *size) noexcept:
    """Bytes after their length; a negative length means null. NULL where they are not all there."""
    at = read_varint(at, end, size)
    if at == NULL or size[0] > end - at:
        return NULL
    data[0] = at
    return at + size[0] if size[0] > 0 else at


@cython.final
@cython.no_gc
cdef class Record:
    """A record with the attributes of aiokafka's `ConsumerRecord` that are asked for."""

    cdef public object topic, partition, offset, timestamp, timestamp_type, key, value
    cdef bytes packed_headers
    cdef Py_ssize_t number

    @property
    def headers(self):
        """(name, value) of each header; bytes of a name that are not UTF-8 are read as U+FFFD."""
        cdef const uint8_t *at
        cdef const uint8_t *end
        cdef const uint8_t *name = NULL
        cdef const uint8_t *content = NULL
        cdef int64_t name_size = 0, content_size = 0
        cdef Py_ssize_t i
        found = []
        if self.number:
            at = <const uint8_t *>PyBytes_AS_STRING(self.packed_headers)
            end = at + PyBytes_GET_SIZE(self.packed_headers)
            for i in range(self.number):
                # Read once before: see below.
                at = read_bytes(at, end, &name, &name_size)
                at = read_bytes(at, end, &content, &content_size)
                found.append(
                    (
                        "" if name_size == 0 else (<const char *>name)[:name_size].decode("utf-8", "replace"),
                        None if content_size < 0
                        else PyBytes_FromStringAndSize(<const char *>content, <Py_ssize_t>content_size),
                    )
                )
        return tuple(found)


def read_records(
    const uint8_t[::1] buffer, Py_ssize_t begin, Py_ssize_t number, int64_t base_offset,
    int64_t first_timestamp, int64_t appended_at, int timestamp_type,
):
    """The records of a batch that is not compressed any more; None where they are not as the protocol says.

    Their topic and partition are left to the caller.

    Args:
        buffer, begin: the batch, and where its records begin.
        number: of records.
        appended_at: the timestamp of all records; -1: each has its own.
    """
    cdef const uint8_t *at
    cdef const uint8_t *end
    cdef const uint8_t *record_end
    cdef const uint8_t *data = NULL
    cdef const uint8_t *headers
    cdef int64_t size = 0, delta = 0, offset_delta = 0, count = 0
    cdef Py_ssize_t i
    cdef int64_t j
    cdef Record record
    cdef list found = []
    if begin >= buffer.shape[0] or number <= 0:
        return None
    at = &buffer[0] + begin
    end = &buffer[0] + buffer.shape[0]
    for i in range(number):
        at = read_varint(at, end, &size)
        if at == NULL or size <= 0 or size > end - at:
            return None
        record_end = at + size
        if at[0] != 0:
            return None  # attributes: none are defined
        at += 1
        at = read_varint(at, record_end, &delta)
        if at == NULL:
            return None
        at = read_varint(at, record_end, &offset_delta)
        if at == NULL:
            return None
        record = Record.__new__(Record)
        record.timestamp_type = timestamp_type
        record.offset = base_offset + offset_delta
        record.timestamp = first_timestamp + delta if appended_at < 0 else appended_at
        at = read_bytes(at, record_end, &data, &size)
        if at == NULL:
            return None
        record.key = None if size < 0 else PyBytes_FromStringAndSize(<const char *>data, <Py_ssize_t>size)
        at = read_bytes(at, record_end, &data, &size)
        if at == NULL:
            return None
        record.value = None if size < 0 else PyBytes_FromStringAndSize(<const char *>data, <Py_ssize_t>size)
        at = read_varint(at, record_end, &count)
        if at == NULL or count < 0:
            return None
        if count:
            headers = at
            for j in range(count):
                at = read_bytes(at, record_end, &data, &size)
                if at == NULL or size < 0:
                    return None
                at = read_bytes(at, record_end, &data, &size)
                if at == NULL:
                    return None
            record.number = <Py_ssize_t>count
            record.packed_headers = PyBytes_FromStringAndSize(<const char *>headers, at - headers)
        if at != record_end:
            return None
        found.append(record)
    return found if at == end else None
