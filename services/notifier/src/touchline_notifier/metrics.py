"""All metrics of the notifier."""

from touchline_runtime.metrics import Counter, Gauge, Histogram

TOUCHPOINTS_READ = Counter(
    "touchline_notifier_touchpoints_read",
    "Touchpoints folded into profiles.",
    "Flat while ingest accepts: look at the reader's log and at touchline_notifier_lag_records.",
)
FACTS_READ = Counter(
    "touchline_notifier_facts_read",
    "Moves, stalls, recoveries, merges and erasures read.",
    "Flat while the engine publishes: facts wait for touchpoints to be read first; look at the lag of both.",
)
DECISIONS = Counter(
    "touchline_notifier_decisions",
    "Published decisions by outcome and reason.",
    "Many held with one reason: see docs/plays.md on that reason; `template` is a mistake in a play.",
    ("outcome", "reason"),
)
SUBSCRIPTIONS = Counter(
    "touchline_notifier_subscriptions",
    "Facts queued for endpoints that subscribe to them.",
    "Rises faster than deliveries finish: an endpoint is slow or away; see /v1/deliveries?status=pending.",
)
EVENTS_PUBLISHED = Counter(
    "touchline_notifier_events_published",
    "Records published from the outbox.",
    "Flat while decisions are made: Kafka does not take them; the outbox keeps them.",
)
SESSIONS = Counter(
    "touchline_notifier_sessions",
    "Times the reader started over, after losing Kafka or PostgreSQL.",
    "Rises: one of the two is going up and down, or two processes have the same TOUCHLINE_WORKER_ID.",
)
PARTITIONS_OWNED = Gauge(
    "touchline_notifier_partitions_owned",
    "Partitions this process works on.",
    "The sum over processes should be TOUCHLINE_PARTITIONS; less: nobody works on some.",
)
LAG = Gauge(
    "touchline_notifier_lag_records",
    "Records not read yet on owned partitions, by topic.",
    "Rises for long: add a process, or look for slow database writes.",
    ("topic",),
)
BATCH_SECONDS = Histogram(
    "touchline_notifier_batch_seconds",
    "Duration of one transaction by what it takes.",
    "Slow: PostgreSQL is busy or its disk is.",
    ("what",),
)

DELIVERY_ATTEMPTS = Counter(
    "touchline_notifier_delivery_attempts",
    "Attempts to deliver, by channel, endpoint and what followed: sent, rescheduled, failed, expired, withheld.",
    "Many rescheduled: the endpoint is ill, last_error in /v1/deliveries?status=pending says why. Failed: given up, "
    "replay them when it is mended. Expired: they waited past max_age, the notifier or the endpoint is far behind. "
    "Withheld: suppressed or refused since they were decided.",
    ("channel", "endpoint", "result"),
)
DELIVERY_SECONDS = Histogram(
    "touchline_notifier_delivery_seconds",
    "Time of an attempt, from its claim until its outcome was written down.",
    "Near the endpoint's timeout: it hangs. High on all endpoints: PostgreSQL is slow.",
    ("channel",),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0),
)

DECISION_METRICS = (
    TOUCHPOINTS_READ,
    FACTS_READ,
    DECISIONS,
    SUBSCRIPTIONS,
    EVENTS_PUBLISHED,
    SESSIONS,
    PARTITIONS_OWNED,
    LAG,
    BATCH_SECONDS,
    DELIVERY_ATTEMPTS,
    DELIVERY_SECONDS,
)
