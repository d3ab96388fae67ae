-- The ledger. Every statement may run again: the adapter runs this file where a table is missing.
CREATE SCHEMA IF NOT EXISTS rollback;

CREATE TABLE IF NOT EXISTS rollback.deployment_history (
    environment           text        NOT NULL,
    vercel_deployment_id  text        NOT NULL,
    id                    text        NOT NULL,
    "timestamp"           timestamptz NOT NULL,
    git_sha               text        NOT NULL,
    db_migration_version  text        NOT NULL,
    -- name -> keyed fingerprint, or null where the value cannot be read; never a value
    environment_variables jsonb       NOT NULL DEFAULT '{}',
    health_check_status   text        NOT NULL DEFAULT 'unknown'
        CHECK (health_check_status IN ('passing', 'failing', 'unknown')),
    recorded              bigint      GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (environment, vercel_deployment_id)
);

CREATE INDEX IF NOT EXISTS deployment_history_latest
    ON rollback.deployment_history (environment, "timestamp" DESC, recorded DESC);

CREATE TABLE IF NOT EXISTS rollback.health_status (
    number                bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment           text        NOT NULL,
    vercel_deployment_id  text        NOT NULL,
    status                text        NOT NULL,
    at                    timestamptz NOT NULL,
    FOREIGN KEY (environment, vercel_deployment_id)
        REFERENCES rollback.deployment_history ON DELETE CASCADE
);

CREATE TABLE IF NOT EXISTS rollback.incidents (
    id                    text        PRIMARY KEY,
    environment           text        NOT NULL,
    from_deployment       text        NOT NULL,
    opened_at             timestamptz NOT NULL,
    outcome               text,
    lease_seconds         float8      NOT NULL DEFAULT 0,
    lease_until           timestamptz NOT NULL DEFAULT now(),
    -- the incident without its journal
    document              jsonb       NOT NULL
);

CREATE UNIQUE INDEX IF NOT EXISTS incidents_one_open
    ON rollback.incidents (environment, from_deployment) WHERE outcome IS NULL;

CREATE INDEX IF NOT EXISTS incidents_latest
    ON rollback.incidents (environment, opened_at DESC);

CREATE TABLE IF NOT EXISTS rollback.journal (
    number                bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- no reference: an entry may come before its incident, when that could not be opened
    incident_id           text        NOT NULL,
    at                    timestamptz NOT NULL,
    event                 text        NOT NULL,
    detail                text        NOT NULL DEFAULT ''
);

CREATE INDEX IF NOT EXISTS journal_of_incident ON rollback.journal (incident_id, at, number);

-- the application, or the API: a project of its own. Older records are the application's
ALTER TABLE rollback.deployment_history
    ADD COLUMN IF NOT EXISTS part text NOT NULL DEFAULT 'application';

-- whether the release before runs on the schema of this one; null where nobody said
ALTER TABLE rollback.deployment_history
    ADD COLUMN IF NOT EXISTS backward_compatible boolean;

-- each version of the application's schema as it was when it was deployed
CREATE TABLE IF NOT EXISTS rollback.schema_versions (
    environment           text        NOT NULL,
    version               text        NOT NULL,
    recorded_at           timestamptz NOT NULL,
    -- of rollback_<version>.sql
    script_sha256         text,
    -- sorted lines
    fingerprint           jsonb,
    PRIMARY KEY (environment, version)
);

CREATE INDEX IF NOT EXISTS deployment_history_of_part
    ON rollback.deployment_history (environment, part, "timestamp" DESC, recorded DESC);
