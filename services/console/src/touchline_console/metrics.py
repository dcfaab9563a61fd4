"""Every metric of the console."""

from touchline_runtime.metrics import Counter, Gauge, Histogram

PAGE_SECONDS = Histogram(
    "touchline_console_page_seconds",
    "Server time of a page or page part, the services' answers included.",
    "Look at touchline_console_service_seconds first: a page is as slow as the slowest service it asks.",
    ("page",),
)
SERVICE_SECONDS = Histogram(
    "touchline_console_service_seconds",
    "Time until a service answered the console.",
    "High for the engine: its PostgreSQL is short of memory or CPU.",
    ("service",),
)
SERVICE_FAILURES = Counter(
    "touchline_console_service_failures",
    "Requests to a service without a usable answer, by kind: unreachable, timeout, refused, error.",
    "unreachable: check the address in TOUCHLINE_INGEST_URL, TOUCHLINE_ENGINE_URL or TOUCHLINE_NOTIFIER_URL, and that "
    "the service runs.",
    ("service", "kind"),
)
SESSIONS = Gauge(
    "touchline_console_sessions",
    "Sign-ins that have not expired.",
    "For information.",
)
SIGN_INS = Counter(
    "touchline_console_sign_ins",
    "Attempts to sign in, by result: accepted, rejected.",
    "Many rejected: a client guesses tokens; restrict who can reach the console.",
    ("result",),
)

ALL = (PAGE_SECONDS, SERVICE_SECONDS, SERVICE_FAILURES, SESSIONS, SIGN_INS)
