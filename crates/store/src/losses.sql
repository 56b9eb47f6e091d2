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

COMMENT ON TABLE weir.accepted_losses IS 'Gaps in a topic that an operator let a sink pass (weir skip); written in the transaction that moves the position';
COMMENT ON COLUMN weir.accepted_losses.records IS 'Records given up; the audit counts with them';
