"""Every metric of the stage engine: what it says, and what to do about it."""

from touchline_runtime.metrics import Counter, Gauge, Histogram

TOUCHPOINTS_FOLDED = Counter(
    "touchline_touchpoints_folded",
    "Touchpoints stored and folded.",
    "Compare its rate with ingest's accepted touchpoints; a standing difference is lag: see touchline_lag_records.",
)
TOUCHPOINTS_DUPLICATE = Counter(
    "touchline_touchpoints_duplicate",
    "Touchpoints that had been stored before, dropped.",
    "Expected after a source resends. A high standing rate: find the source that repeats itself.",
)
TOUCHPOINTS_CONFLICTING = Counter(
    "touchline_touchpoints_conflicting",
    "Touchpoints whose (source, id) had been used with another content; the smaller stays.",
    "A source reuses ids. Find it in the log (touchpoint_conflict) and have it mint new ones.",
)
TOUCHPOINTS_LATE = Counter(
    "touchline_touchpoints_late",
    "Touchpoints that sorted before what was folded, so that a customer was folded again.",
    "Costs a read of history each. A source that is always late should be asked why.",
)
TOUCHPOINTS_READ_AGAIN = Counter(
    "touchline_touchpoints_read_again",
    "Stored touchpoints read to fold customers again, because of late touchpoints, merges or new definitions.",
    "Far above touchline_touchpoints_late for long: late touchpoints of customers with a long history, whose stages "
    "come out otherwise than before; a lower TOUCHLINE_CHECKPOINT_EVERY shortens what is read where they don't.",
)
TOUCHPOINTS_ERASED = Counter(
    "touchline_touchpoints_erased",
    "Touchpoints dropped because their customer was erased after they occurred.",
    "Expected after an erasure, while sources still send the past.",
)
DEAD_LETTERS = Counter(
    "touchline_dead_letters",
    "Records that could not be understood, sent to the dead-letter topic.",
    "Look at them: touchline-ingest dead-letters list. Somebody writes to the topic past ingest.",
    ("reason",),
)
FACTS_PUBLISHED = Counter(
    "touchline_facts_published",
    "Facts committed to the stage-changes topic.",
    "None for hours while touchpoints fold: look at the relay's errors in the log (relay_failed).",
)
MOVES = Counter(
    "touchline_moves",
    "Moves decided, by kind.",
    "For dashboards; a sudden wave of corrections (reason) means late touchpoints, merges or a new definition.",
    ("lifecycle", "move", "reason"),
)
STALLS = Counter("touchline_stalls", "Stalls decided.", "For dashboards.", ("lifecycle", "level"))
RECOVERIES = Counter("touchline_recoveries", "Recoveries decided.", "For dashboards.", ("lifecycle",))
BATCH_SECONDS = Histogram(
    "touchline_batch_seconds",
    "From a batch's records in hand to its commit.",
    "Rising: the database is slow, or customers with a long history are folded again (touchline_touchpoints_late).",
)
BATCH_RECORDS = Histogram(
    "touchline_batch_records",
    "Records in a batch.",
    "Always full batches: the engine is behind; add workers.",
    buckets=(1, 10, 100, 500, 1000, 2000, 5000, 10_000),
)
RELAY_SECONDS = Histogram(
    "touchline_relay_seconds",
    "From a batch's commit in the database to its facts' commit in Kafka.",
    "Rising above a second: the broker is slow with transactions.",
)
LAG_RECORDS = Gauge(
    "touchline_lag_records",
    "Records on the input topics that are not folded yet.",
    "Rising for minutes: add workers or replicas, up to the number of partitions.",
    ("partition",),
)
OUTBOX_WAITING = Gauge(
    "touchline_outbox_waiting_records",
    "Facts committed in the database and not published yet.",
    "Rising: Kafka refuses or is slow; see relay_failed in the log.",
    ("partition",),
)
PARTITIONS_OWNED = Gauge(
    "touchline_partitions_owned",
    "Partitions this process folds.",
    "The sum over all engines should be the number of partitions, except for seconds after a start or stop.",
)
FENCED = Counter(
    "touchline_fenced",
    "Times a write was refused because somebody else had taken the partition.",
    "Expected around a takeover. Standing: two engines run under one worker name, or processes freeze for seconds.",
)
RECOVERING = Gauge(
    "touchline_partitions_waiting",
    "Owned partitions that wait for the database or Kafka to come back.",
    "Not 0 for long: look at partition_interrupted in the log.",
)
CACHED_CUSTOMERS = Gauge(
    "touchline_cached_customers",
    "Customers in memory.",
    "At TOUCHLINE_CACHED_CUSTOMERS, with a slow database: raise it.",
)
REFOLDS_PENDING = Gauge(
    "touchline_refolds_pending",
    "Partitions in which customers are being folded again under changed definitions.",
    "Returns to 0 by itself; until then a customer may stand where the old definition put them.",
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
    RELAY_SECONDS,
    LAG_RECORDS,
    OUTBOX_WAITING,
    PARTITIONS_OWNED,
    FENCED,
    RECOVERING,
    CACHED_CUSTOMERS,
    REFOLDS_PENDING,
)
