-- Retention (OPS-15): what is destroyed keeps its row; legal holds; runs and what they destroyed.

ALTER TABLE document ADD COLUMN destroyed_at BIGINT;
ALTER TABLE submission ADD COLUMN destroyed_at BIGINT;
ALTER TABLE letter ADD COLUMN destroyed_at BIGINT;
ALTER TABLE print_batch ADD COLUMN destroyed_at BIGINT;
ALTER TABLE case_file ADD COLUMN destroyed_at BIGINT;
-- what is kept, oldest first: a run reads no more than is old enough
CREATE INDEX document_kept ON document (created_at, id) WHERE destroyed_at IS NULL;
CREATE INDEX submission_kept ON submission (created_at, id) WHERE destroyed_at IS NULL;
CREATE INDEX letter_kept ON letter (created_at, id) WHERE destroyed_at IS NULL;
CREATE INDEX print_batch_kept ON print_batch (closed_at, id) WHERE destroyed_at IS NULL;
CREATE INDEX case_file_kept ON case_file (opened_at, id) WHERE destroyed_at IS NULL;

-- A legal hold: as long as it stands, nothing of the case, the practice or the member is destroyed. TIN and member id
-- are here only; events name the hold.
CREATE TABLE retention_hold (
    id         TEXT PRIMARY KEY,
    brand      TEXT NOT NULL,
    -- one of the three
    case_id    TEXT,
    tin        TEXT,
    member_id  TEXT,
    reason     TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    lifted_by  TEXT,
    lifted_at  BIGINT,
    version    BIGINT NOT NULL
);
CREATE UNIQUE INDEX retention_hold_of_case ON retention_hold (brand, case_id) WHERE lifted_at IS NULL AND case_id IS NOT NULL;
CREATE UNIQUE INDEX retention_hold_of_tin ON retention_hold (brand, tin) WHERE lifted_at IS NULL AND tin IS NOT NULL;
CREATE UNIQUE INDEX retention_hold_of_member ON retention_hold (brand, member_id)
    WHERE lifted_at IS NULL AND member_id IS NOT NULL;
CREATE INDEX retention_hold_by_created ON retention_hold (created_at, id);

CREATE TABLE retention_run (
    id         TEXT PRIMARY KEY,
    -- code of RetentionRunState
    state      TEXT NOT NULL,
    -- the payer's local day as which everything is judged
    day        TEXT NOT NULL,
    asked_by   TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    done_at    BIGINT,
    -- how far it has come: code of RecordKind, and behind which row; NULL kind: through all of them
    kind       TEXT,
    place_at   BIGINT NOT NULL,
    place_id   TEXT NOT NULL,
    version    BIGINT NOT NULL
);
CREATE UNIQUE INDEX retention_run_one ON retention_run (state) WHERE state = 'running';
CREATE INDEX retention_run_by_started ON retention_run (started_at, id);

-- What a run left, by class and reason.
CREATE TABLE retention_left (
    run_id  TEXT NOT NULL,
    class   TEXT NOT NULL,
    -- code of RetentionReason
    why     TEXT NOT NULL,
    records BIGINT NOT NULL,
    PRIMARY KEY (run_id, class, why)
);

-- What was destroyed: each record once.
CREATE TABLE retention_record (
    -- code of RecordKind
    kind     TEXT NOT NULL,
    subject  TEXT NOT NULL,
    brand    TEXT NOT NULL,
    run_id   TEXT NOT NULL,
    class    TEXT NOT NULL,
    -- the first day on which it could be
    due_on   TEXT NOT NULL,
    -- code of RecordState
    state    TEXT NOT NULL,
    begun_at BIGINT NOT NULL,
    done_at  BIGINT,
    PRIMARY KEY (kind, subject)
);
CREATE INDEX retention_record_by_run ON retention_record (run_id, begun_at, subject);
CREATE INDEX retention_record_begun ON retention_record (run_id, kind, subject) WHERE state = 'destroying';
