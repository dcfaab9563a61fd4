"""All metrics of the notifier."""

from touchline_runtime.metrics import Counter, Gauge, Histogram, Sampled

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
PARTITIONS = Gauge(
    "touchline_notifier_partitions",
    "Partitions there are (TOUCHLINE_PARTITIONS).",
    "Compare with the sum of touchline_notifier_partitions_owned.",
    across="max",
)
PARTITIONS_OWNED = Gauge(
    "touchline_notifier_partitions_owned",
    "Partitions this process works on.",
    "The sum over processes should be TOUCHLINE_PARTITIONS; less: some partitions have no owner.",
)
LAG = Sampled(
    "touchline_notifier_lag_records",
    "Records not read yet on owned partitions, by topic; absent while Kafka does not say where a topic ends.",
    "Rises for long: add a process, or look for slow database writes.",
    ("topic",),
)
OUTBOX_WAITING = Sampled(
    "touchline_notifier_outbox_waiting_records",
    "Records that are committed in the database and not published yet. Every process exports the same value: take the "
    "maximum.",
    "Rising: Kafka rejects writes or is slow; look at session_ended in the log.",
    ("partition",),
    across="max",
)
OUTBOX_AGE_SECONDS = Sampled(
    "touchline_notifier_outbox_age_seconds",
    "How long the oldest of them has been waiting; 0 where none waits.",
    "Above a minute: Kafka takes no transactions; look at session_ended in the log.",
    ("partition",),
    across="max",
)
ACTIONS_WAITING = Sampled(
    "touchline_notifier_actions_waiting",
    "Actions of owned partitions that are held back and decided again later, by reason.",
    "sending_off: the sending switch is off. quiet_hours and not_a_business_day end by themselves.",
    ("reason",),
)
ACTIONS_OVERDUE_SECONDS = Sampled(
    "touchline_notifier_actions_overdue_seconds",
    "How long ago the first waiting action should have been decided again, or the first run of a sequence looked at; "
    "those that wait for the sending switch apart.",
    "Rising: the partitions are not read to their ends (touchline_notifier_lag_records); actions wait for that.",
    across="max",
)
SEQUENCE_RUNS = Sampled(
    "touchline_notifier_sequence_runs",
    "Runs of sequences that go on, of owned partitions, by play.",
    "Falling to 0: no facts come that begin runs, or the play is off. /v1/plays/{play}/steps says where they are.",
    ("play",),
)
BATCH_SECONDS = Histogram(
    "touchline_notifier_batch_seconds",
    "Duration of one transaction by what it takes.",
    "Slow: PostgreSQL is busy or its disk is.",
    ("what",),
)

DELIVERY_ATTEMPTS = Counter(
    "touchline_notifier_delivery_attempts",
    "Deliveries that were due, by channel, endpoint and result: sent, retry, failed, held, cancelled, too_old.",
    "Many retry: the endpoint fails, last_error in /v1/deliveries?status=pending says why. Failed: given up, "
    "replay them when the fault is fixed. Too_old: they waited past max_age; the notifier or the endpoint is behind. "
    "Held, cancelled: the address was suppressed, consent refused, or the customer moved on since they were decided.",
    ("channel", "endpoint", "result"),
)
DELIVERY_SECONDS = Histogram(
    "touchline_notifier_delivery_seconds",
    "Time of an attempt, from its claim until its outcome is stored.",
    "Near the endpoint's timeout: it hangs. High on all endpoints: PostgreSQL is slow.",
    ("channel",),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0),
)

ENDPOINT_BREAKER = Sampled(
    "touchline_notifier_endpoint_breaker",
    "1 for the state of an endpoint's breaker (closed, open, half_open, disabled), 0 for the others. Every process "
    "says the same: take the maximum.",
    "open or half_open for long: the endpoint is away, `touchline-notifier endpoints list` shows the last error. "
    "disabled: repair it, then `touchline-notifier endpoints enable NAME`.",
    ("endpoint", "state"),
    across="max",
)
DELIVERIES_PENDING = Sampled(
    "touchline_notifier_deliveries_pending",
    "Deliveries that are not finished, by endpoint (`removed`: it left the endpoints file). Every process says the "
    "same: take the maximum.",
    "Rising: the endpoint is slow or away; `touchline-notifier endpoints list` shows the last error.",
    ("endpoint",),
    across="max",
)
DELIVERIES_OVERDUE_SECONDS = Sampled(
    "touchline_notifier_deliveries_overdue_seconds",
    "How long ago the first of them should have been attempted; 0 while none is due. Every process says the same: take "
    "the maximum.",
    "Rising while the breaker is closed: the notifier sends more slowly than it decides, or not at all; add a process. "
    "Rising with the breaker open or disabled: see touchline_notifier_endpoint_breaker.",
    ("endpoint",),
    across="max",
)

MAIL_EVENTS = Counter(
    "touchline_notifier_mail_events",
    "Opens and clicks of tracked mails, by what was done (opened, clicked) and by whom (human, machine).",
    "Flat while mails are tracked: /v1/mail/ is not reached from outside, or mail_events_not_judged is in the log.",
    ("kind", "by"),
)
MAIL_EVENTS_LOST = Counter(
    "touchline_notifier_mail_events_lost",
    "Opens and clicks of tracked mails that were not written. The clicks led on.",
    "Rises: PostgreSQL was away for longer than memory had room for, or when the process ended.",
)

DECISION_METRICS = (
    TOUCHPOINTS_READ,
    FACTS_READ,
    DECISIONS,
    SUBSCRIPTIONS,
    EVENTS_PUBLISHED,
    SESSIONS,
    PARTITIONS,
    PARTITIONS_OWNED,
    LAG,
    OUTBOX_WAITING,
    OUTBOX_AGE_SECONDS,
    ACTIONS_WAITING,
    ACTIONS_OVERDUE_SECONDS,
    SEQUENCE_RUNS,
    BATCH_SECONDS,
    DELIVERY_ATTEMPTS,
    DELIVERY_SECONDS,
    ENDPOINT_BREAKER,
    DELIVERIES_PENDING,
    DELIVERIES_OVERDUE_SECONDS,
    MAIL_EVENTS,
    MAIL_EVENTS_LOST,
)
