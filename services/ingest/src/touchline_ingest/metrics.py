"""Every metric of the ingest service."""

from touchline_runtime.metrics import Counter, Gauge, Histogram

TOUCHPOINTS = Counter(
    "touchline_ingest_touchpoints",
    "Touchpoints by outcome: accepted (acknowledged by Kafka), rejected (not valid; the answer says why), "
    "unacknowledged (answered 503), dead_lettered.",
    "A rising share of rejected: GET /v1/sources shows the reasons. Unacknowledged: look at Kafka.",
    ("source", "door", "outcome"),
)
REQUESTS = Counter(
    "touchline_ingest_requests",
    "Requests answered, by endpoint and status.",
    "401: a key was revoked or mistyped. 429: raise the source's rate_limit or ask it to slow down; where "
    "touchline_ingest_rate_limited does not rise, an address keeps trying wrong keys. 503: see Kafka.",
    ("door", "status"),
)
REQUEST_SECONDS = Histogram(
    "touchline_ingest_request_seconds",
    "From the first byte of a request to its answer, Kafka's acknowledgement included.",
    "High while Kafka's own produce latency is low: the process is short of CPU; run another.",
    ("door",),
)
IN_FLIGHT_RECORDS = Gauge(
    "touchline_ingest_in_flight_records",
    "Records sent to Kafka and not yet acknowledged.",
    "Near TOUCHLINE_MAX_IN_FLIGHT_RECORDS senders get 503: Kafka is too slow, or unavailable.",
)
IN_FLIGHT_BYTES = Gauge(
    "touchline_ingest_in_flight_bytes",
    "Bytes sent to Kafka and not yet acknowledged.",
    "As for the records, with TOUCHLINE_MAX_IN_FLIGHT_BYTES.",
)
SOURCES = Gauge(
    "touchline_ingest_sources",
    "Sources in force.",
    "Changes when the sources file is read again; never zero.",
    across="max",
)
SOURCES_FILE_BAD = Gauge(
    "touchline_ingest_sources_file_bad",
    "1 while the sources file can't be used and the previous one stays in force.",
    "The log says which lines are wrong (sources_file_bad). A restart fails until they are fixed.",
    across="max",
)
RATE_LIMITED = Counter(
    "touchline_ingest_rate_limited",
    "Requests answered 429.",
    "Raise the source's rate_limit, or ask its owner why it posts so much.",
    ("source",),
)
DEAD_LETTERS = Counter(
    "touchline_ingest_dead_letters",
    "Requests kept as dead letters.",
    "`touchline-ingest dead-letters list` shows them; fix the mapping, then `dead-letters replay`.",
    ("source", "reason"),
)

ALL = (
    TOUCHPOINTS, REQUESTS, REQUEST_SECONDS, IN_FLIGHT_RECORDS, IN_FLIGHT_BYTES, SOURCES, SOURCES_FILE_BAD, RATE_LIMITED,
    DEAD_LETTERS,
)  # fmt: skip
