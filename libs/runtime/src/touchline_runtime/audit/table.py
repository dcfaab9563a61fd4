"""The table of an audit log, for the migrations of the services that have one.

Migrations that were released run these statements: a change of the table is a new migration.
"""

from typing import Final

_TABLE = """
-- Every change that was made through the API or a command line, by whom. Rows are only added.
CREATE TABLE audit_log (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor       text        NOT NULL,   -- the name of the token
    role        text        NOT NULL,
    action      text        NOT NULL,
    target      text        NOT NULL,
    before      jsonb,
    after       jsonb,
    reason      text,
    request_id  text        NOT NULL
)
"""

_REFUSE_CHANGES = """
CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END
$$
"""

_TRIGGER = """
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only()
"""

_ALLOW_RETENTION = """
-- A transaction that sets touchline.audit_retention may delete entries: the service does so for those that are older
-- than TOUCHLINE_AUDIT_KEPT_DAYS. Nothing changes an entry.
CREATE OR REPLACE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND coalesce(current_setting('touchline.audit_retention', true), '') = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only';
END
$$
"""

CREATE: Final = (_TABLE, _REFUSE_CHANGES, _TRIGGER)
DROP: Final = ("DROP TABLE audit_log", "DROP FUNCTION audit_log_is_append_only")
ALLOW_RETENTION: Final = (_ALLOW_RETENTION,)
REFUSE_RETENTION: Final = (_REFUSE_CHANGES.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"),)
