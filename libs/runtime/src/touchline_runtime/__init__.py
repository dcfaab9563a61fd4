"""What every Touchline process needs and no domain word: settings, logs, metrics, health, HTTP, Kafka, PostgreSQL."""
