"""Every metric of the stage engine: what it measures, and what to do about it."""

from touchline_runtime.metrics import Counter, Gauge, Histogram, Sampled

TOUCHPOINTS_FOLDED = Counter(
    "touchline_touchpoints_folded",
    "Touchpoints stored and folded.",
    "Compare its rate with ingest's accepted touchpoints; a lasting difference is lag: see touchline_lag_records.",
)
TOUCHPOINTS_DUPLICATE = Counter(
    "touchline_touchpoints_duplicate",
    "Touchpoints that were already stored, and were dropped.",
    "Expected after a source resends. A lasting high rate: find the source that sends everything twice.",
)
TOUCHPOINTS_CONFLICTING = Counter(
    "touchline_touchpoints_conflicting",
    "Touchpoints whose (source, id) was already used with another content; the smaller content is kept.",
    "A source reuses ids. Find it in the log (touchpoint_conflict) and make it generate new ids.",
)
TOUCHPOINTS_LATE = Counter(
    "touchline_touchpoints_late",
    "Touchpoints that sort before folded ones, so that the customer was folded again.",
    "Each costs a read of history. Find out why a source is always late.",
)
TOUCHPOINTS_READ_AGAIN = Counter(
    "touchline_touchpoints_read_again",
    "Stored touchpoints read to fold customers again, because of late touchpoints, merges or new definitions.",
    "Far above touchline_touchpoints_late for long: late touchpoints change the stages of customers with a long "
    "history. Where stages stay the same, a lower TOUCHLINE_CHECKPOINT_EVERY shortens what is read.",
)
TOUCHPOINTS_ERASED = Counter(
    "touchline_touchpoints_erased",
    "Touchpoints dropped because their customer was erased after they occurred.",
    "Expected after an erasure while sources still send old touchpoints.",
)
DEAD_LETTERS = Counter(
    "touchline_dead_letters",
    "Invalid records, sent to the dead-letter topic.",
    "List them with touchline-ingest dead-letters list. A producer writes to the topic without ingest.",
    ("reason",),
)
FACTS_PUBLISHED = Counter(
    "touchline_facts_published",
    "Facts committed to the stage-changes topic.",
    "None for hours while touchpoints fold: look at outbox_publish_failed in the log.",
)
MOVES = Counter(
    "touchline_moves",
    "Moves decided, by kind.",
    "For dashboards; a sudden increase of corrections (reason) means late touchpoints, merges or a new definition.",
    ("lifecycle", "move", "reason"),
)
STALLS = Counter("touchline_stalls", "Stalls decided.", "For dashboards.", ("lifecycle", "level"))
RECOVERIES = Counter("touchline_recoveries", "Recoveries decided.", "For dashboards.", ("lifecycle",))
BATCH_SECONDS = Histogram(
    "touchline_batch_seconds",
    "Time from receiving a batch's records to its commit.",
    "Rising: the database is slow, or customers with a long history are folded again (touchline_touchpoints_late).",
)
BATCH_RECORDS = Histogram(
    "touchline_batch_records",
    "Records in a batch.",
    "Always full batches: the engine is behind; add workers.",
    buckets=(1, 10, 100, 500, 1000, 2000, 5000, 10_000),
)
PUBLISH_SECONDS = Histogram(
    "touchline_relay_seconds",
    "Time from a batch's commit in the database to the commit of its facts in Kafka.",
    "Rising above a second: the broker is slow with transactions.",
)
END_TO_END_SECONDS = Histogram(
    "touchline_end_to_end_seconds",
    "From a touchpoint's record on Kafka to the commit of the facts it caused; the oldest of each batch.",
    "Rises with the lag. High without lag: compare touchline_batch_seconds (PostgreSQL) with touchline_relay_seconds "
    "(Kafka).",
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0),
)
UNFOLDED_SECONDS = Gauge(
    "touchline_oldest_unfolded_seconds",
    "Upper bound of the age of the oldest touchpoint that is not folded yet; below a second while none waits.",
    "Rising as fast as the clock: the partition is not folded at all, see touchline_partitions_waiting and /readyz. "
    "Rising slowly: the engine folds more slowly than touchpoints arrive; add workers or replicas.",
    ("partition",),
    across="max",
)
LAG_RECORDS = Gauge(
    "touchline_lag_records",
    "Records on the input topics that are not folded yet.",
    "Rising for minutes: add workers or replicas, up to the number of partitions.",
    ("partition",),
)
OUTBOX_WAITING = Gauge(
    "touchline_outbox_waiting_records",
    "Facts that are committed in the database and not published yet.",
    "Rising: Kafka rejects writes or is slow; see outbox_publish_failed in the log.",
    ("partition",),
)
OUTBOX_AGE_SECONDS = Sampled(
    "touchline_outbox_age_seconds",
    "How long the oldest record of the outbox has been waiting to be published; 0 where none waits.",
    "Above a minute: Kafka takes no transactions; see outbox_publish_failed in the log.",
    ("partition",),
    across="max",
)
TIMERS_LATE_SECONDS = Sampled(
    "touchline_timers_late_seconds",
    "How long ago the earliest timer should have fired that has not; 0 where none is due.",
    "Rises with the lag, for timers wait until their partition, and for customers with several keys all partitions, "
    "have caught up. High without lag: look at partition_interrupted and timers_failed in the log.",
    ("partition",),
    across="max",
)
CUSTOMERS = Sampled(
    "touchline_customers",
    "Customers in each stage, by the process that owns partition 0; counted once a minute at most.",
    "For dashboards.",
    ("lifecycle", "stage"),
    across="max",
)
CUSTOMERS_STALLED = Sampled(
    "touchline_customers_stalled",
    "Those of them with an open stall.",
    "For dashboards.",
    ("lifecycle", "stage"),
    across="max",
)
DATABASE_BYTES = Sampled(
    "touchline_database_bytes",
    "Size of the PostgreSQL database, by the process that owns partition 0.",
    "Compare its growth with the room on the volume; see docs/operating.md on what is kept for how long.",
    across="max",
)
PARTITIONS = Gauge(
    "touchline_partitions",
    "Partitions there are (TOUCHLINE_PARTITIONS).",
    "Compare with the sum of touchline_partitions_owned.",
    across="max",
)
PARTITIONS_OWNED = Gauge(
    "touchline_partitions_owned",
    "Partitions this process folds.",
    "The sum over all engines should be the number of partitions, except for seconds after a start or stop.",
)
FENCED = Counter(
    "touchline_fenced",
    "Writes that were rejected because another process had taken the partition.",
    "Expected during a takeover. Lasting: two engines run under one worker name, or processes freeze for seconds.",
)
RECOVERING = Gauge(
    "touchline_partitions_waiting",
    "Owned partitions that wait for the database or for Kafka.",
    "Not 0 for long: look at partition_interrupted and partition_blocked in the log.",
)
PARTITION_IDLE = Gauge(
    "touchline_partition_idle_seconds",
    "Seconds since the last commit of an owned partition, or since Kafka last confirmed that it has nothing more.",
    "Above TOUCHLINE_STALL_SECONDS the partition is stuck and /readyz says so: PostgreSQL or Kafka does not answer, or "
    "a fault needs an operator; look at partition_interrupted and partition_blocked in the log.",
    ("partition",),
    across="max",
)
CACHED_CUSTOMERS = Gauge(
    "touchline_cached_customers",
    "Customers in memory.",
    "At TOUCHLINE_CACHED_CUSTOMERS, with a slow database: raise it.",
)
SHARED_KEYS = Gauge(
    "touchline_shared_keys",
    "Keys in owned partitions that more customers than TOUCHLINE_SHARED_KEY_LIMIT name: they link no customers.",
    "Rising: a source sends a placeholder address or a device's id; see /v1/identity-conflicts.",
)
REFOLDS_PENDING = Gauge(
    "touchline_refolds_pending",
    "Partitions in which customers are being folded again under changed definitions.",
    "Returns to 0 by itself; until then a customer may be in a stage of the old definition.",
)

SUMMARY_SECONDS = Histogram(
    "touchline_customer_list_refresh_seconds",
    "Time of one refresh of the customer summaries, which the list of customers reads.",
    "Above a minute for long: the list of customers is minutes behind; PostgreSQL is short of memory or CPU.",
)
SUMMARIES_WRITTEN = Counter(
    "touchline_customer_list_rows_written",
    "Customer summaries written.",
    "For information.",
)
ANALYSIS_SECONDS = Histogram(
    "touchline_analysis_seconds",
    "Time of one computation over all customers of a lifecycle (funnel, time in stage, cohorts and others).",
    "Long ones run in the background and are answered from memory; see as_of in the answers.",
    ("analysis",),
)

AUDIENCE_CHANGES = Counter(
    "touchline_audience_changes",
    "Customers who entered or left an audience.",
    "For dashboards. A sudden increase: an audience was changed, created or deleted (see the audit log).",
    ("change",),
)
AUDIENCE_READ_SECONDS = Histogram(
    "touchline_audience_read_seconds",
    "Time of one read that compares up to 1,000 customers with an audience.",
    "Rising: PostgreSQL is slow, or a filter is expensive. Members follow later; folding does not wait for it.",
)
ALL = (
    TOUCHPOINTS_FOLDED,
    TOUCHPOINTS_DUPLICATE,
    TOUCHPOINTS_CONFLICTING,
    TOUCHPOINTS_LATE,
    TOUCHPOINTS_READ_AGAIN,
    TOUCHPOINTS_ERASED,
    DEAD_LETTERS,
    FACTS_PUBLISHED,
    MOVES,
    STALLS,
    RECOVERIES,
    BATCH_SECONDS,
    BATCH_RECORDS,
    PUBLISH_SECONDS,
    END_TO_END_SECONDS,
    UNFOLDED_SECONDS,
    LAG_RECORDS,
    OUTBOX_WAITING,
    OUTBOX_AGE_SECONDS,
    TIMERS_LATE_SECONDS,
    CUSTOMERS,
    CUSTOMERS_STALLED,
    DATABASE_BYTES,
    PARTITIONS,
    PARTITIONS_OWNED,
    FENCED,
    RECOVERING,
    PARTITION_IDLE,
    CACHED_CUSTOMERS,
    SHARED_KEYS,
    REFOLDS_PENDING,
    SUMMARY_SECONDS,
    SUMMARIES_WRITTEN,
    ANALYSIS_SECONDS,
    AUDIENCE_CHANGES,
    AUDIENCE_READ_SECONDS,
)
