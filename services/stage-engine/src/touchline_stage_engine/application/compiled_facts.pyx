# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""Facts and latest stages as bytes, compiled; `outbox_records.RecordBuilder` is the reference and the fallback.

Python writes what is unusual here: a record that is longer than `ROOM`, a time before 1970 or from 2100 on.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

import orjson
from touchline_schemas.ids import FACT_NAMESPACE

from touchline_stage_engine.application import outbox_records
from touchline_stage_engine.application.outbox_records import About, Outgoing, RecordBuilder
from touchline_stage_engine.core.folding.facts import Move, Recovery, Stall

cdef extern from *:
    """
    #include <Python.h>
    #include <stdint.h>
    #include <string.h>

    static PyObject *tl_new(PyObject *cls, Py_ssize_t items) {
        return ((PyTypeObject *)cls)->tp_alloc((PyTypeObject *)cls, items);
    }
    static void tl_set_item(PyObject *tuple, Py_ssize_t index, PyObject *value) {
        Py_INCREF(value);
        PyTuple_SET_ITEM(tuple, index, value);
    }
    /* SHA-1 (RFC 3174), of which UUIDs of version 5 are made. */
    #define TL_ROL(x, n) (((x) << (n)) | ((x) >> (32 - (n))))
    static void tl_sha1_block(uint32_t h[5], const uint8_t *block) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        int i;
        for (i = 0; i < 16; i++)
            w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16
                 | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
        for (; i < 80; i++) w[i] = TL_ROL(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (i = 0; i < 80; i++) {
            uint32_t f, k, t;
            if (i < 20) { f = (b & c) | (~b & d); k = 0x5a827999; }
            else if (i < 40) { f = b ^ c ^ d; k = 0x6ed9eba1; }
            else if (i < 60) { f = (b & c) | (b & d) | (c & d); k = 0x8f1bbcdc; }
            else { f = b ^ c ^ d; k = 0xca62c1d6; }
            t = TL_ROL(a, 5) + f + e + k + w[i];
            e = d; d = c; c = TL_ROL(b, 30); b = a; a = t;
        }
        h[0] += a; h[1] += b; h[2] += c; h[3] += d; h[4] += e;
    }
    /* The first 16 bytes of the digest. `data` has room for 72 bytes behind its end. */
    static void tl_sha1_16(uint8_t *data, Py_ssize_t size, uint8_t *out) {
        uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
        uint64_t bits = (uint64_t)size * 8;
        Py_ssize_t i, padded = (size + 9 + 63) / 64 * 64;
        data[size] = 0x80;
        memset(data + size + 1, 0, (size_t)(padded - size - 1));
        for (i = 0; i < 8; i++) data[padded - 1 - i] = (uint8_t)(bits >> (8 * i));
        for (i = 0; i < padded; i += 64) tl_sha1_block(h, data + i);
        for (i = 0; i < 16; i++) out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
    }
    """
    object tl_new(object cls, Py_ssize_t items)
    void tl_set_item(object made, Py_ssize_t index, object value) noexcept
    void tl_sha1_16(uint8_t *data, Py_ssize_t size, uint8_t *out) noexcept

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    object PyUnicode_DecodeASCII(const char *text, Py_ssize_t size, const char *errors)

cdef enum:
    ROOM = 8192
    SPARE = 128

cdef object dumps = orjson.dumps
cdef bytes NAMESPACE = FACT_NAMESPACE.bytes
cdef object STAGE_CHANGES = outbox_records.STAGE_CHANGES, CUSTOMER_STAGES = outbox_records.CUSTOMER_STAGES
cdef const char *HEX = "0123456789abcdef"
if About._fields != ("id", "type", "time", "subject") or Outgoing._fields != (
    "topic", "partition", "key", "about", "value"
):
    raise ImportError("records have other fields than this module was written for")


cdef struct Text:
    Py_ssize_t size  # -1: something did not fit, or can't be written here
    uint8_t data[8192 + 128]


cdef inline void literal(Text *text, const char *data, Py_ssize_t size) noexcept:
    if text.size < 0 or text.size + size > ROOM:
        text.size = -1
        return
    memcpy(text.data + text.size, data, <size_t>size)
    text.size += size


cdef int raw_text(Text *text, object value) except -1:
    cdef Py_ssize_t size = 0
    cdef const char *data = PyUnicode_AsUTF8AndSize(value, &size)
    literal(text, data, size)
    return 0


cdef int json_text(Text *text, object value) except -1:
    """A JSON string, or null."""
    cdef Py_ssize_t size = 0, i
    cdef const char *data
    if value is None:
        literal(text, b"null", 4)
        return 0
    data = PyUnicode_AsUTF8AndSize(value, &size)
    for i in range(size):
        if <uint8_t>data[i] < 32 or data[i] == 34 or data[i] == 92:
            return json_value(text, value)
    literal(text, b'"', 1)
    literal(text, data, size)
    literal(text, b'"', 1)
    return 0


cdef int json_value(Text *text, object value) except -1:
    cdef bytes written = dumps(value)
    literal(text, PyBytes_AS_STRING(written), PyBytes_GET_SIZE(written))
    return 0


cdef int number(Text *text, object value) except -1:
    cdef int64_t rest = value
    cdef char digits[24]
    cdef int i = 24
    if rest < 0:
        return json_value(text, value)
    while True:
        i -= 1
        digits[i] = <char>(48 + rest % 10)
        rest //= 10
        if rest == 0:
            break
    literal(text, digits + i, 24 - i)
    return 0


cdef inline void two(uint8_t *at, int64_t value) noexcept:
    at[0] = <uint8_t>(48 + value // 10)
    at[1] = <uint8_t>(48 + value % 10)


cdef Py_ssize_t wire_time(uint8_t *at, int64_t micros) noexcept:
    """`micros_to_wire`, into 27 bytes; the length, 0 where it can't be written here."""
    cdef int64_t days, rest, era, day, year_of_era, year, month, fraction
    cdef int i
    if micros < 0 or micros >= 4102444800000000:
        return 0
    days, rest = micros // 86400000000, micros % 86400000000
    # The civil date, with years that begin in March.
    days += 719468
    era = days // 146097
    day = days - era * 146097
    year_of_era = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year_of_era + year_of_era // 4 - year_of_era // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5 - 1
    month += 3 if month < 10 else -9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    two(at, year // 100)
    two(at + 2, year % 100)
    at[4] = 45
    two(at + 5, month)
    at[7] = 45
    two(at + 8, day)
    at[10] = 84
    fraction, rest = rest % 1000000, rest // 1000000
    two(at + 11, rest // 3600)
    at[13] = 58
    two(at + 14, rest // 60 % 60)
    at[16] = 58
    two(at + 17, rest % 60)
    if fraction == 0:
        at[19] = 90
        return 20
    at[19] = 46
    for i in range(6):
        at[25 - i] = <uint8_t>(48 + fraction % 10)
        fraction //= 10
    at[26] = 90
    return 27


cdef int json_time(Text *text, object micros) except -1:
    cdef uint8_t written[27]
    cdef Py_ssize_t size = wire_time(written, micros)
    if size == 0:
        text.size = -1
        return 0
    literal(text, b'"', 1)
    literal(text, <const char *>written, size)
    literal(text, b'"', 1)
    return 0


cdef object id_text(object customer_id, object lifecycle, object incarnation, object fact_no, object era, uint8_t *id_):
    """`fact_id_text` into 36 bytes; False where it can't be written here."""
    cdef Text name
    cdef uint8_t digest[16]
    cdef int i, at = 0
    name.size = 0
    literal(&name, PyBytes_AS_STRING(NAMESPACE), 16)
    raw_text(&name, customer_id)
    literal(&name, b"\x1f", 1)
    raw_text(&name, lifecycle)
    literal(&name, b"\x1f", 1)
    number(&name, incarnation)
    literal(&name, b"\x1f", 1)
    if era:
        number(&name, era)
        literal(&name, b"\x1f", 1)
    number(&name, fact_no)
    if name.size < 0:
        return False
    tl_sha1_16(name.data, name.size, digest)
    digest[6] = (digest[6] & 0x0f) | 0x50
    digest[8] = (digest[8] & 0x3f) | 0x80
    for i in range(16):
        if i == 4 or i == 6 or i == 8 or i == 10:
            id_[at] = 45
            at += 1
        id_[at] = HEX[digest[i] >> 4]
        id_[at + 1] = HEX[digest[i] & 15]
        at += 2
    return True


cdef object outgoing(object topic, object partition, bytes key, object id_, object type_, object time, bytes subject,
                     Text *text):
    about = tl_new(About, 4)
    tl_set_item(about, 0, id_)
    tl_set_item(about, 1, type_)
    tl_set_item(about, 2, time)
    tl_set_item(about, 3, subject)
    record = tl_new(Outgoing, 5)
    tl_set_item(record, 0, topic)
    tl_set_item(record, 1, partition)
    tl_set_item(record, 2, key)
    tl_set_item(record, 3, about)
    tl_set_item(record, 4, PyBytes_FromStringAndSize(<const char *>text.data, text.size))
    return record


class CompiledRecordBuilder(RecordBuilder):
    """`RecordBuilder`, with the records of most facts and stages written by compiled code."""

    def fact(self, customer_id, incarnation, lifecycle, numbered):
        """A move, stall or recovery, for stage-changes."""
        cdef Text text
        cdef uint8_t id_[36]
        cdef uint8_t time[27]
        cdef Py_ssize_t time_size
        fact, fact_no, sequence = numbered
        kind = type(fact)
        era = self.era
        if kind is Move:
            type_, at, version, backfill = "touchline.stage-changed", fact[3], fact[7], fact[9]
        elif kind is Stall:
            type_, at, version, backfill = "touchline.customer-stalled", fact[3], fact[4], fact[5]
        elif kind is Recovery:
            type_, at, version, backfill = "touchline.customer-recovered", fact[3], fact[4], fact[5]
        else:
            return super().fact(customer_id, incarnation, lifecycle, numbered)
        time_size = wire_time(time, at)
        if time_size == 0 or not id_text(customer_id, lifecycle, incarnation, fact_no, era, id_):
            return super().fact(customer_id, incarnation, lifecycle, numbered)
        text.size = 0
        if kind is Move:
            literal(&text, b'{"from_stage":', 14)
            json_text(&text, fact[1])
            literal(&text, b',"to_stage":', 12)
            json_text(&text, fact[2])
            literal(&text, b',"move":', 8)
            json_text(&text, fact[0])
            literal(&text, b',"reason":{"kind":', 18)
            json_text(&text, fact[4])
            literal(&text, b',"text":', 8)
            json_text(&text, fact[5])
            literal(&text, b',"touchpoint_id":', 17)
            json_text(&text, fact[6])
            literal(&text, b'},"sequence":', 13)
            number(&text, sequence)
            literal(&text, b',"previous_stage_seconds":', 26)
            json_value(&text, fact[8])
        elif kind is Stall:
            literal(&text, b'{"stage":', 9)
            json_text(&text, fact[0])
            literal(&text, b',"level":', 9)
            number(&text, fact[1])
            literal(&text, b',"since":', 9)
            json_time(&text, fact[2])
            literal(&text, b',"due_at":"', 11)
            literal(&text, <const char *>time, time_size)
            literal(&text, b'"', 1)
        else:
            literal(&text, b'{"stage":', 9)
            json_text(&text, fact[0])
            literal(&text, b',"stalled_seconds":', 19)
            json_value(&text, fact[1])
            literal(&text, b',"touchpoint_id":', 17)
            json_text(&text, fact[2])
        literal(&text, b',"customer_id":', 15)
        json_text(&text, customer_id)
        literal(&text, b',"lifecycle":', 13)
        json_text(&text, lifecycle)
        literal(&text, b',"lifecycle_version":', 21)
        number(&text, version)
        literal(&text, b',"fact_no":', 11)
        number(&text, fact_no)
        literal(&text, b',"incarnation":', 15)
        number(&text, incarnation)
        if era:
            literal(&text, b',"era":', 7)
            number(&text, era)
        literal(&text, b',"occurred_at":"', 16)
        literal(&text, <const char *>time, time_size)
        literal(&text, b'","decided_at":', 15)
        json_text(&text, self.decided_at)
        literal(&text, b',"backfill":true}' if backfill else b',"backfill":false}', 17 if backfill else 18)
        if text.size < 0:
            return super().fact(customer_id, incarnation, lifecycle, numbered)
        key = customer_id.encode()
        return outgoing(
            STAGE_CHANGES, self.partition, key, PyUnicode_DecodeASCII(<const char *>id_, 36, NULL), type_,
            PyUnicode_DecodeASCII(<const char *>time, time_size, NULL), key, &text,
        )

    def latest_stage(self, customer_id, incarnation, lifecycle, published):
        """The compacted record of a customer in a lifecycle; a tombstone where there is no stage."""
        cdef Text text
        cdef uint8_t id_[36]
        stage, entered_at = published.stage, published.entered_at
        if stage is None or not id_text(customer_id, lifecycle, incarnation, published.fact_no, self.era, id_):
            return super().latest_stage(customer_id, incarnation, lifecycle, published)
        text.size = 0
        literal(&text, <const char *>id_, 36)
        literal(&text, b":", 1)
        number(&text, entered_at)
        if text.size < 0:
            return super().latest_stage(customer_id, incarnation, lifecycle, published)
        ce_id = PyUnicode_DecodeASCII(<const char *>text.data, text.size, NULL)
        decided_at = self.decided_at
        text.size = 0
        literal(&text, b'{"customer_id":', 15)
        json_text(&text, customer_id)
        literal(&text, b',"lifecycle":', 13)
        json_text(&text, lifecycle)
        literal(&text, b',"lifecycle_version":', 21)
        number(&text, published.version)
        literal(&text, b',"stage":', 9)
        json_text(&text, stage)
        literal(&text, b',"entered_at":', 14)
        json_time(&text, entered_at)
        literal(&text, b',"sequence":', 12)
        number(&text, published.sequence)
        literal(&text, b',"stalled_level":', 17)
        number(&text, published.level)
        literal(&text, b',"updated_at":', 14)
        json_text(&text, decided_at)
        literal(&text, b"}", 1)
        if text.size < 0:
            return super().latest_stage(customer_id, incarnation, lifecycle, published)
        return outgoing(
            CUSTOMER_STAGES, self.partition, f"{customer_id}/{lifecycle}".encode(), ce_id, "touchline.customer-stage",
            decided_at, customer_id.encode(), &text,
        )
