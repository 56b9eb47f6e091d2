CREATE SCHEMA IF NOT EXISTS weir;

CREATE TABLE IF NOT EXISTS weir.positions (
    pipeline    text        NOT NULL,
    sink        text        NOT NULL,
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    cluster_id  text        NOT NULL,
    fence       bigint      NOT NULL,
    next_offset bigint,
    read        bigint      NOT NULL DEFAULT 0,
    written     bigint      NOT NULL DEFAULT 0,
    filtered    bigint      NOT NULL DEFAULT 0,
    dead        bigint      NOT NULL DEFAULT 0,
    last_source bigint,
    last_read_offset      bigint,
    last_read_fingerprint bigint,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, sink, topic, partition)
) WITH (fillfactor = 50);

-- Rows of the version before have no proof until the next commit.
ALTER TABLE weir.positions ADD COLUMN IF NOT EXISTS last_read_offset bigint;
ALTER TABLE weir.positions ADD COLUMN IF NOT EXISTS last_read_fingerprint bigint;
ALTER TABLE weir.positions ADD COLUMN IF NOT EXISTS target_oid oid;
ALTER TABLE weir.positions ADD COLUMN IF NOT EXISTS positions_oid oid;
ALTER TABLE weir.positions ADD COLUMN IF NOT EXISTS superseded bigint NOT NULL DEFAULT 0;

COMMENT ON TABLE weir.positions IS
    'One row per sink and partition, updated with the rows; manual changes lose or repeat records';
COMMENT ON COLUMN weir.positions.fence IS
    'Incremented by every new owner of the partition; a writer with an older fence is refused';
COMMENT ON COLUMN weir.positions.next_offset IS
    'The next offset to read; null before the first commit';
COMMENT ON COLUMN weir.positions.last_source IS
    'Offset in the input topic that the last record came from';
COMMENT ON COLUMN weir.positions.last_read_offset IS
    'Offset of the record that was read last, one before next_offset';
COMMENT ON COLUMN weir.positions.last_read_fingerprint IS
    'Hash of that record; a start compares it with the topic';

COMMENT ON COLUMN weir.positions.target_oid IS
    'The table that the rows went to; when another one has its name, rows and position disagree';
COMMENT ON COLUMN weir.positions.superseded IS
    'Of the written records: those that came back from the dead letters and were older than their row';
COMMENT ON COLUMN weir.positions.positions_oid IS
    'This table itself; differs after it was restored';

CREATE TABLE IF NOT EXISTS weir.beginnings (
    pipeline    text        NOT NULL,
    sink        text        NOT NULL,
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    began_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, sink, topic, partition)
);

COMMENT ON TABLE weir.beginnings IS
    'The partitions that a sink has ever written; without a position such a partition halts';

CREATE TABLE IF NOT EXISTS weir.dead_letters (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline         text        NOT NULL,
    sink             text        NOT NULL,
    topic            text        NOT NULL,
    partition        integer     NOT NULL,
    "offset"         bigint      NOT NULL,
    source_offset    bigint,
    key              bytea,
    value            bytea,
    headers          jsonb       NOT NULL DEFAULT '[]',
    record_timestamp timestamptz,
    schema_id        bigint,
    stage            text        NOT NULL,
    reason           text        NOT NULL,
    detail           text        NOT NULL,
    column_name      text,
    sqlstate         text,
    created_at       timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS dead_letters_by_pipeline
    ON weir.dead_letters (pipeline, sink, created_at);

COMMENT ON TABLE weir.dead_letters IS
    'Records that a sink could not write, with their original bytes';
COMMENT ON COLUMN weir.dead_letters."offset" IS
    'Offset in the topic that the sink reads';
COMMENT ON COLUMN weir.dead_letters.source_offset IS
    'Offset in the input topic, from the record''s lineage';
COMMENT ON COLUMN weir.dead_letters.sqlstate IS
    'The error code of the row''s refusal; null if the record could not be decoded';

CREATE TABLE IF NOT EXISTS weir.accepted_losses (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline    text        NOT NULL,
    sink        text        NOT NULL,
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    from_offset bigint      NOT NULL,
    to_offset   bigint      NOT NULL,
    records     bigint      NOT NULL,
    reason      text        NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE weir.accepted_losses IS
    'Gaps in a topic that were accepted with weir skip, recorded when the position is moved';
COMMENT ON COLUMN weir.accepted_losses.records IS
    'Number of records lost; the audit takes it into account';

CREATE TABLE IF NOT EXISTS weir.deleted_keys (
    table_name    text        NOT NULL,
    key           jsonb       NOT NULL,
    topic         text        NOT NULL,
    partition     integer     NOT NULL,
    source_offset bigint      NOT NULL,
    replay_of     bigint,
    deleted_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (table_name, key)
);

COMMENT ON TABLE weir.deleted_keys IS
    'Keys whose row was deleted: a version from before that comes back from the dead letters does '
    'not bring it back. Rows older than every dead letter that may still be replayed can be deleted';
