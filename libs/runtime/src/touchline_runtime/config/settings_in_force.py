"""The settings in force, for operators: every variable with its value, without secrets."""

from pathlib import Path
from typing import Any

from pydantic import SecretStr

from touchline_runtime.config.settings import ServiceSettings

SET, NOT_SET = "(set)", "(not set)"


def settings_in_force(settings: ServiceSettings) -> dict[str, Any]:
    """``TOUCHLINE_…`` → value. Of a secret only whether it is set."""
    shown: dict[str, Any] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = SET if value.get_secret_value() else NOT_SET
        elif isinstance(value, Path) or (value is not None and not isinstance(value, str | int | float | bool)):
            value = str(value)
        shown[f"TOUCHLINE_{name.upper()}"] = value
    return shown
