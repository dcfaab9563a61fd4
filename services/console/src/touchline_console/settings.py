"""The console's settings: environment variables ``TOUCHLINE_…`` (see the base class for the shared ones)."""

from pydantic import Field
from touchline_runtime.config.settings import ServiceSettings

_URL = r"^https?://[^/?#]+(/[^?#]*)?$"


class ConsoleSettings(ServiceSettings):
    """What the console needs to know. It uses neither Kafka nor PostgreSQL."""

    http_port: int = Field(default=8090, ge=0, le=65535, description="Port to listen on.")
    ingest_url: str = Field(default="http://127.0.0.1:8080", pattern=_URL, description="Address of the ingest API.")
    engine_url: str = Field(
        default="http://127.0.0.1:8081", pattern=_URL, description="Address of the stage engine's query API."
    )
    notifier_url: str = Field(
        default="http://127.0.0.1:8082", pattern=_URL, description="Address of the notifier's API."
    )
    service_timeout_seconds: float = Field(
        default=10.0, gt=0, description="How long the console waits for an answer of a service."
    )
    session_hours: float = Field(default=12.0, gt=0, description="How long a sign-in to the console lasts.")
    currency: str = Field(
        default="EUR", pattern=r"^[A-Z]{3}$", description="Currency (ISO 4217) in which the console shows amounts."
    )
