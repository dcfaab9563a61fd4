"""The notifier's tables for many customers: profiles, actions of a year with their deliveries and attempts."""

import json
import time
from pathlib import Path

import asyncpg
from rich.console import Console

console = Console()

PLAYS = {
    "win-back": """
play: win-back
title: Win back inactive customers
when: {fact: customer-stalled, lifecycle: service-cycle, stage: [retention], level: 1}
action: {channel: webhook, endpoint: desk, subject: "Call {{ customer_id }}", body: "No activity for 30 days."}
hold_out: 10%
""",
    "thank-you": """
play: thank-you
title: Thank customers who recommend us
when: {fact: stage-changed, lifecycle: service-cycle, stage: [advocacy], move: [advance]}
action: {channel: webhook, endpoint: desk, subject: "Thank {{ customer_id }}", body: "They recommended us."}
""",
}
ENDPOINTS = {"endpoints": [{"name": "desk", "url": "http://127.0.0.1:9/desk", "secret": {"env": "BENCH_SECRET"}}]}

# An action for every second customer, spread over 300 days; six of ten are sent.
FILL = (
    """
    INSERT INTO profiles (customer_id, profile, updated_at)
    SELECT customer_id, '{"values": {"locale": [1767225600000000, "e", "en"]}}', now() FROM stage_engine.customers
    """,
    """
    INSERT INTO actions (action_id, partition, play, fact_id, fact_type, fact, customer_id, lifecycle, stage, channel,
                         endpoint, outcome, reason_code, fact_at, decided_at, finished_at, held_out, recovered_at,
                         returned_at, converted_at, events)
    SELECT gen_random_uuid(), 0, play, md5(customer_id), 'customer-stalled', '{}', customer_id, 'service-cycle',
           'retention', 'webhook', 'desk', outcome, reason, at, at, CASE WHEN outcome = 'sent' THEN at END, n % 10 = 0,
           CASE WHEN n % 3 = 0 THEN at + interval '2 days' END, CASE WHEN n % 3 = 0 THEN at + interval '2 days' END,
           CASE WHEN n % 7 = 0 THEN at + interval '5 days' END, 1
    FROM (
        SELECT customer_id, n, CASE WHEN n % 3 = 0 THEN 'thank-you' ELSE 'win-back' END AS play,
               now() - random() * interval '300 days' AS at,
               CASE WHEN n % 10 < 6 THEN 'sent' WHEN n % 10 = 9 THEN 'held_out' WHEN n % 10 = 8 THEN 'failed'
                    ELSE 'held' END AS outcome,
               CASE WHEN n % 10 IN (6, 7) THEN (ARRAY['capped', 'quiet_hours', 'no_consent'])[n % 3 + 1]
                    WHEN n % 10 = 8 THEN 'endpoint_failed' END AS reason
        FROM (SELECT customer_id, row_number() OVER () AS n FROM stage_engine.customers) AS numbered
        WHERE n % 2 = 1 OR n % 10 IN (0, 6, 8)
    ) AS decided ORDER BY at
    """,
    """
    INSERT INTO deliveries (id, partition, kind, action_id, fact_id, customer_id, channel, endpoint, message, status,
                            attempts, next_attempt_at, last_status, created_at, finished_at)
    SELECT gen_random_uuid(), 0, 'action', action_id, fact_id, customer_id, channel, endpoint,
           '{"subject": "Call", "body": "No activity for 30 days."}', outcome,
           CASE outcome WHEN 'sent' THEN 1 ELSE 5 END, decided_at, CASE outcome WHEN 'sent' THEN 200 ELSE 500 END,
           decided_at, decided_at + interval '1 second'
    FROM actions WHERE outcome IN ('sent', 'failed') ORDER BY decided_at
    """,
    """
    INSERT INTO delivery_attempts (delivery_id, at, attempt, endpoint, result, status, milliseconds, error)
    SELECT id, created_at + n * interval '1 minute', n, endpoint,
           CASE WHEN status = 'sent' THEN 'sent' WHEN n < 5 THEN 'retry' ELSE 'failed' END, last_status,
           20 + (random() * 300)::int, CASE WHEN status <> 'sent' THEN 'answered 500' END
    FROM deliveries, generate_series(1, attempts) AS n
    """,
    "VACUUM ANALYZE",
)


def configuration(folder: Path) -> dict[str, str]:
    """Write plays and endpoints; the notifier's environment."""
    plays = folder / "plays"
    plays.mkdir(parents=True, exist_ok=True)
    for name, text in PLAYS.items():
        (plays / f"{name}.yaml").write_text(text)
    (folder / "endpoints.yaml").write_text(json.dumps(ENDPOINTS))
    return {
        "TOUCHLINE_PLAYS_DIR": str(plays),
        "TOUCHLINE_ENDPOINTS_FILE": str(folder / "endpoints.yaml"),
        "TOUCHLINE_DELIVERY_ALLOWED_NETWORKS": "127.0.0.0/8",
        "BENCH_SECRET": "whsec_YmVuY2htYXJrLXNlY3JldC1vZi0zMi1ieXRlcyE=",
    }


async def fill(url: str) -> None:
    """Fill the notifier's tables for the customers of the engine's."""
    connection = await asyncpg.connect(url)
    began = time.monotonic()
    try:
        await connection.execute("SET search_path TO notifier")
        await connection.execute("SET synchronous_commit TO off")
        for statement in FILL:
            await connection.execute(statement, timeout=3600)
        actions = await connection.fetchval("SELECT count(*) FROM actions")
        console.print(f"{actions:,} actions with their deliveries in {time.monotonic() - began:.0f} s")
    finally:
        await connection.close()
