"""The command lines that start each service."""

SERVICE_COMMANDS = {
    "ingest": ["touchline-ingest", "serve"],
    "engine": ["touchline-stage-engine", "run"],
    "engine with workers": ["touchline-stage-engine", "run", "--workers", "2"],
    "engine's API": ["touchline-stage-engine", "serve"],
    "notifier": ["touchline-notifier", "run"],
    "notifier's API": ["touchline-notifier", "serve"],
    "console": ["touchline-console", "serve"],
}
