# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Rows in PostgreSQL's binary COPY format, compiled: asyncpg's own encoder calls a codec for each value."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_CheckExact
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

cdef extern from "Python.h":
    int PyUnicode_CheckExact(object value)
    int PyLong_CheckExact(object value)
    int PyFloat_CheckExact(object value)
    double PyFloat_AS_DOUBLE(object value)
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1

cdef bytes SIGNATURE = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"


cdef struct Buffer:
    uint8_t *data
    Py_ssize_t size
    Py_ssize_t room


cdef int reserve(Buffer *buffer, Py_ssize_t more) except -1:
    cdef Py_ssize_t room
    cdef uint8_t *data
    if buffer.room - buffer.size >= more:
        return 0
    room = max(2 * buffer.room, buffer.size + more)
    data = <uint8_t *>realloc(buffer.data, <size_t>room)
    if data == NULL:
        raise MemoryError
    buffer.data, buffer.room = data, room
    return 0


cdef inline void put(uint8_t *at, uint64_t value, int size) noexcept:
    cdef int i
    for i in range(size):
        at[i] = <uint8_t>(value >> (8 * (size - 1 - i)))


cdef int append_integer(Buffer *buffer, int64_t value, int size) except -1:
    reserve(buffer, 12)
    put(buffer.data + buffer.size, <uint64_t>size, 4)
    put(buffer.data + buffer.size + 4, <uint64_t>value, size)
    buffer.size += 4 + size
    return 0


cdef int append_bytes(Buffer *buffer, const char *data, Py_ssize_t size) except -1:
    if size > 0x3fffffff:
        return 1
    reserve(buffer, size + 4)
    put(buffer.data + buffer.size, <uint64_t>size, 4)
    memcpy(buffer.data + buffer.size + 4, data, <size_t>size)
    buffer.size += 4 + size
    return 0


cdef int append(Buffer *buffer, object value, char kind) except -1:
    """Append a field. Returns 1 where asyncpg has to judge it: another type, or a number out of range."""
    cdef const char *data
    cdef Py_ssize_t size = 0
    cdef int overflow = 0
    cdef int64_t number, bits
    cdef double real
    if value is None:
        reserve(buffer, 4)
        put(buffer.data + buffer.size, 0xffffffff, 4)
        buffer.size += 4
        return 0
    if kind == c"t":
        if not PyUnicode_CheckExact(value):
            return 1
        data = PyUnicode_AsUTF8AndSize(value, &size)
        return append_bytes(buffer, data, size)
    if kind == c"8" or kind == c"4" or kind == c"2":
        if not PyLong_CheckExact(value):
            return 1
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow:
            return 1
        if kind == c"8":
            return append_integer(buffer, number, 8)
        if kind == c"4":
            return append_integer(buffer, number, 4) if -2147483648 <= number <= 2147483647 else 1
        return append_integer(buffer, number, 2) if -32768 <= number <= 32767 else 1
    if kind == c"b":
        if not PyBytes_CheckExact(value):
            return 1
        return append_bytes(buffer, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    if kind == c"f":
        if not PyFloat_CheckExact(value):
            return 1
        real = PyFloat_AS_DOUBLE(value)
        memcpy(&bits, &real, 8)
        return append_integer(buffer, bits, 8)
    if kind == c"?":
        if value is not True and value is not False:
            return 1
        return append_integer(buffer, 1 if value is True else 0, 1)
    return 1


def encode_rows(rows, bytes kinds):
    """Rows as a COPY stream; None where one holds a value that asyncpg has to judge.

    Args:
        rows: a list of tuples.
        kinds: of each column: t text or json, b bytea, 8 4 2 integers of so many bytes, f double precision, ? boolean.

    Raises:
        UnicodeEncodeError: a text has a lone surrogate.
    """
    cdef Buffer buffer
    cdef Py_ssize_t columns = PyBytes_GET_SIZE(kinds), i
    cdef const char *kind = PyBytes_AS_STRING(kinds)
    if not PyList_CheckExact(rows):
        return None
    buffer.data, buffer.size, buffer.room = NULL, 0, 0
    try:
        reserve(&buffer, 64 + 192 * len(rows))
        memcpy(buffer.data, PyBytes_AS_STRING(SIGNATURE), 19)
        buffer.size = 19
        for row in rows:
            if not PyTuple_CheckExact(row) or PyTuple_GET_SIZE(row) != columns:
                return None
            reserve(&buffer, 2)
            put(buffer.data + buffer.size, <uint64_t>columns, 2)
            buffer.size += 2
            for i in range(columns):
                if append(&buffer, <object>PyTuple_GET_ITEM(row, i), kind[i]):
                    return None
        reserve(&buffer, 2)
        put(buffer.data + buffer.size, 0xffff, 2)
        buffer.size += 2
        return PyBytes_FromStringAndSize(<const char *>buffer.data, buffer.size)
    finally:
        free(buffer.data)
