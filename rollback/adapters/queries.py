"""What the ledger asks PostgreSQL. The tables are in `schema.sql`."""

from typing import Final

CREATED: Final = """
SELECT to_regclass('rollback.deployment_history_of_part') IS NOT NULL AS quick,
    to_regclass('rollback.health_status') IS NOT NULL
    AND to_regclass('rollback.incidents') IS NOT NULL
    AND to_regclass('rollback.journal') IS NOT NULL
    AND 2 = (SELECT count(*) FROM pg_attribute
        WHERE attrelid = to_regclass('rollback.deployment_history')
          AND attname IN ('part', 'backward_compatible') AND NOT attisdropped)
    AND to_regclass('rollback.schema_versions') IS NOT NULL AS enough
"""
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"

RECORD: Final = """
INSERT INTO rollback.deployment_history AS known
    (environment, vercel_deployment_id, id, "timestamp", git_sha,
     db_migration_version, environment_variables, health_check_status, part,
     backward_compatible)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (environment, vercel_deployment_id) DO UPDATE SET
    id = excluded.id, "timestamp" = excluded."timestamp", git_sha = excluded.git_sha,
    db_migration_version = excluded.db_migration_version,
    environment_variables = excluded.environment_variables, part = excluded.part,
    backward_compatible =
        coalesce(excluded.backward_compatible, known.backward_compatible)
WHERE known."timestamp" <= excluded."timestamp"
"""

SET_HEALTH: Final = """
WITH known AS (
    UPDATE rollback.deployment_history AS recorded
    SET health_check_status = CASE WHEN EXISTS (
            SELECT 1 FROM rollback.health_status AS later
            WHERE later.environment = recorded.environment
              AND later.vercel_deployment_id = recorded.vercel_deployment_id
              AND later.at > %(at)s)
        THEN recorded.health_check_status ELSE %(status)s END
    WHERE environment = %(environment)s AND vercel_deployment_id = %(deployment)s
    RETURNING environment, vercel_deployment_id)
INSERT INTO rollback.health_status (environment, vercel_deployment_id, status, at)
SELECT environment, vercel_deployment_id, %(status)s, %(at)s FROM known
"""

HEALTH_HISTORY: Final = """
SELECT status, at FROM rollback.health_status
WHERE environment = %s AND vercel_deployment_id = %s ORDER BY at DESC, number DESC
"""

FIND: Final = """
SELECT * FROM rollback.deployment_history
WHERE environment = %s AND vercel_deployment_id = %s
"""

HISTORY: Final = """
SELECT * FROM rollback.deployment_history
WHERE environment = %s AND (%s::text IS NULL OR part = %s)
ORDER BY "timestamp" DESC, recorded DESC LIMIT %s
"""

WRITABLE: Final = """
SELECT has_table_privilege('rollback.deployment_history', 'INSERT')
    AND has_table_privilege('rollback.deployment_history', 'UPDATE')
    AND has_table_privilege('rollback.incidents', 'INSERT')
    AND has_table_privilege('rollback.incidents', 'UPDATE')
    AND has_table_privilege('rollback.journal', 'INSERT')
    AND current_setting('transaction_read_only') = 'off' AS writable
"""

OTHER: Final = """
SELECT id, document, lease_until > clock_timestamp() AS held FROM rollback.incidents
WHERE environment = %s AND from_deployment = %s AND outcome IS NULL AND id <> %s
"""

SAVE: Final = """
INSERT INTO rollback.incidents AS known
    (id, environment, from_deployment, opened_at, outcome, document,
     lease_seconds, lease_until)
VALUES (%(id)s, %(environment)s, %(candidate)s, %(opened_at)s, %(outcome)s,
    %(document)s::jsonb, coalesce(%(lease)s::float8, 0),
    clock_timestamp() + make_interval(secs => coalesce(%(lease)s::float8, 0)))
ON CONFLICT (id) DO UPDATE SET
    outcome = excluded.outcome, document = excluded.document,
    lease_seconds = coalesce(%(lease)s::float8, known.lease_seconds),
    lease_until = clock_timestamp()
        + make_interval(secs => coalesce(%(lease)s::float8, known.lease_seconds))
"""

APPEND: Final = """
WITH alive AS (
    UPDATE rollback.incidents
    SET lease_until = clock_timestamp() + make_interval(secs => lease_seconds)
    WHERE id = %(incident)s)
INSERT INTO rollback.journal (incident_id, at, event, detail)
VALUES (%(incident)s, %(at)s, %(event)s, %(detail)s)
"""

JOURNAL: Final = """
SELECT incident_id, at, event, detail FROM rollback.journal
WHERE incident_id = ANY(%s) ORDER BY at, number
"""

INCIDENT: Final = "SELECT id, document FROM rollback.incidents WHERE id = %s"

INCIDENTS: Final = """
SELECT id, document FROM rollback.incidents WHERE environment = %s
ORDER BY opened_at DESC, id DESC LIMIT %s
"""

RECORD_SCHEMA: Final = """
INSERT INTO rollback.schema_versions AS known
    (environment, version, recorded_at, script_sha256, fingerprint)
VALUES (%(environment)s, %(version)s, %(at)s, %(script)s, %(fingerprint)s)
ON CONFLICT (environment, version) DO UPDATE SET
    recorded_at = excluded.recorded_at,
    script_sha256 = CASE WHEN %(renew)s
        THEN coalesce(excluded.script_sha256, known.script_sha256)
        ELSE coalesce(known.script_sha256, excluded.script_sha256) END,
    fingerprint = coalesce(excluded.fingerprint, known.fingerprint)
RETURNING script_sha256 IS DISTINCT FROM %(script)s AND %(script)s IS NOT NULL AS other
"""

SCHEMAS: Final = """
SELECT environment, version, recorded_at, script_sha256, fingerprint
FROM rollback.schema_versions WHERE environment = %s
"""
