"""The statements that copy the rows of folded lives, and those that compare two customers."""

COPIES = {
    "customers": """
        INSERT INTO customers (partition, customer_id, incarnation, erased_before, touchpoints, last_at, last_id,
                               last_source, seen_at, fired_through, wake_at, generation, states, checkpointed)
        SELECT partition, customer_id || '-' || k, incarnation, erased_before, touchpoints, last_at,
               last_id || '-' || k, last_source, seen_at, fired_through, wake_at, generation, states, checkpointed
        FROM customers, generate_series($1::int, $2::int) AS k
        WHERE customer_id LIKE 'c-_____' ORDER BY k, customer_id
    """,
    "touchpoints": """
        INSERT INTO touchpoints (customer_id, occurred_at, id, source, hash, type, channel, flags, received_at,
                                 properties, identifiers, original_key)
        SELECT customer_id || '-' || k, occurred_at, id || '-' || k, source, hashtextextended(id || '-' || k, 0), type,
               channel, flags, received_at,
               CASE WHEN type = 'signed_up'
                    THEN replace(properties::text, substr(customer_id, 3), substr(customer_id, 3) || '-' || k)::json
                    ELSE properties END, identifiers, original_key
        FROM touchpoints, generate_series($1::int, $2::int) AS k
        WHERE customer_id LIKE 'c-_____' ORDER BY occurred_at
    """,
    "history": """
        INSERT INTO history (customer_id, lifecycle, no, fact, sequence, occurred_at, version, stage, from_stage, move,
                             reason_kind, reason_text, touchpoint_id, previous_stage_seconds, level, since,
                             stalled_seconds, backfill)
        SELECT customer_id || '-' || k, lifecycle, no, fact, sequence, occurred_at, version, stage, from_stage, move,
               reason_kind, reason_text, touchpoint_id || '-' || k, previous_stage_seconds, level, since,
               stalled_seconds, backfill
        FROM history, generate_series($1::int, $2::int) AS k
        WHERE customer_id LIKE 'c-_____' ORDER BY occurred_at
    """,
    "customer_summaries": """
        INSERT INTO customer_summaries (customer_id, touchpoints, aliases, name, email, traits, first_at, first_channel,
                                        first_source, active_at, value, purchases, last_purchase_at, written_at)
        SELECT customer_id || '-' || k, touchpoints, aliases, name || '-' || k, email,
               replace(traits::text, substr(customer_id, 3), substr(customer_id, 3) || '-' || k)::jsonb, first_at,
               first_channel, first_source, active_at, value, purchases, last_purchase_at, written_at
        FROM customer_summaries, generate_series($1::int, $2::int) AS k
        WHERE customer_id LIKE 'c-_____' ORDER BY k, customer_id
    """,
    "customer_terms": """
        INSERT INTO customer_terms (term, customer_id)
        SELECT CASE WHEN term = 'ada' THEN term ELSE term || '-' || k END, customer_id || '-' || k
        FROM customer_terms, generate_series($1::int, $2::int) AS k
        WHERE customer_id LIKE 'c-_____' ORDER BY k, customer_id
    """,
    "stages": """
        INSERT INTO stages (partition, customer_id, lifecycle, version, stage, entered_at, sequence, stalled_level,
                            stalled_since, updated_at)
        SELECT partition, customer_id || '-' || k, lifecycle, version, stage, entered_at, sequence, stalled_level,
               stalled_since, updated_at
        FROM stages, generate_series($1::int, $2::int) AS k
        WHERE customer_id LIKE 'c-_____' ORDER BY k, customer_id
    """,
}
# Left out is what depends on the clock and on the order of arrival (fired_through, updated_at, and the numbers of what
# was published, corrections included), and the hash of a copy's id.
COMPARED = (
    "SELECT touchpoints, last_at, last_id, last_source, seen_at, convert_from(states, 'UTF8') AS states"
    " FROM customers WHERE customer_id = $1",
    "SELECT lifecycle, no, fact, sequence, occurred_at, version, stage, from_stage, move, reason_kind, reason_text,"
    " touchpoint_id, previous_stage_seconds, level, since, stalled_seconds, backfill"
    " FROM history WHERE customer_id = $1 ORDER BY lifecycle, no",
    "SELECT lifecycle, version, stage, entered_at, stalled_level, stalled_since"
    " FROM stages WHERE customer_id = $1 ORDER BY lifecycle",
    "SELECT touchpoints, aliases, name, email, traits::text, first_at, first_channel, first_source, active_at, value,"
    " purchases, last_purchase_at FROM customer_summaries WHERE customer_id = $1",
    "SELECT term FROM customer_terms WHERE customer_id = $1 ORDER BY term",
    "SELECT occurred_at, id, source, type, channel, flags, received_at, properties::text, identifiers::text,"
    " original_key FROM touchpoints WHERE customer_id = $1 ORDER BY occurred_at, id",
)
