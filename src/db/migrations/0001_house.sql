-- One text for SQLite and PostgreSQL: TEXT and BIGINT columns only, instants in microseconds since 1970 UTC,
-- dates as ISO text, no defaults that depend on the clock, no booleans. Codes are the words of the API.

CREATE TABLE installation (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Who runs a job of which there may be one at a time (sequencer, reconcilers). The token fences.
CREATE TABLE lease (
    name       TEXT PRIMARY KEY,
    token      TEXT NOT NULL,
    until_at   BIGINT NOT NULL
);

-- The queue. A row is work to do; a finished one is gone, a failed one stays as a dead letter.
CREATE TABLE work (
    subject     TEXT NOT NULL,
    stage       TEXT NOT NULL,
    state       TEXT NOT NULL,
    attempts    BIGINT NOT NULL,
    due_at      BIGINT NOT NULL,
    lease_token TEXT,
    lease_until BIGINT,
    node        TEXT,
    reason      TEXT,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (subject, stage)
);
CREATE INDEX work_by_due ON work (stage, state, due_at);

-- Written without a position in the transaction of the state it tells of; the sequencer gives the position.
CREATE TABLE event (
    id       TEXT PRIMARY KEY,
    position BIGINT UNIQUE,
    type     TEXT NOT NULL,
    version  BIGINT NOT NULL,
    subject  TEXT NOT NULL,
    brand    TEXT NOT NULL,
    tin_uid  TEXT,
    actor    TEXT NOT NULL,
    at       BIGINT NOT NULL,
    payload  TEXT NOT NULL,
    digest   TEXT
);
CREATE INDEX event_unsealed ON event (at, id) WHERE position IS NULL;
CREATE INDEX event_by_subject ON event (subject, position);

CREATE TABLE seal (
    first_position BIGINT PRIMARY KEY,
    last_position  BIGINT NOT NULL UNIQUE,
    mac            TEXT NOT NULL,
    at             BIGINT NOT NULL
);

-- How far a reader of events has come.
CREATE TABLE event_reader (
    name     TEXT PRIMARY KEY,
    position BIGINT NOT NULL
);

-- The conservation ledger: one receipt per acceptance, one posting per transition (NULL from: the row's birth).
CREATE TABLE receipt (
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    brand   TEXT NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (kind, subject)
);
CREATE TABLE posting (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    from_state TEXT,
    to_state   TEXT NOT NULL,
    at         BIGINT NOT NULL
);
CREATE INDEX posting_by_subject ON posting (subject);
CREATE INDEX posting_by_state ON posting (kind, from_state, to_state);

-- Reference data: loaded, never invented here.
CREATE TABLE tin (
    tin  TEXT PRIMARY KEY,
    uid  TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL
);
CREATE TABLE provider (
    npi  TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    tin  TEXT NOT NULL
);
CREATE TABLE member (
    brand      TEXT NOT NULL,
    member_id  TEXT NOT NULL,
    first_name TEXT NOT NULL,
    last_name  TEXT NOT NULL,
    birth_date TEXT NOT NULL,
    account    TEXT,
    PRIMARY KEY (brand, member_id)
);
CREATE TABLE claim (
    brand        TEXT NOT NULL,
    claim_number TEXT NOT NULL,
    member_id    TEXT NOT NULL,
    tin          TEXT NOT NULL,
    npi          TEXT,
    status       TEXT NOT NULL,
    service_from TEXT NOT NULL,
    service_to   TEXT NOT NULL,
    processed_on TEXT,
    PRIMARY KEY (brand, claim_number)
);

CREATE TABLE case_file (
    id           TEXT PRIMARY KEY,
    brand        TEXT NOT NULL,
    kind         TEXT NOT NULL,
    case_number  TEXT NOT NULL,
    status       TEXT NOT NULL,
    claim_number TEXT,
    attachment_control_number TEXT,
    member_id    TEXT NOT NULL,
    tin          TEXT NOT NULL,
    npi          TEXT,
    service_from TEXT,
    service_to   TEXT,
    opened_at    BIGINT NOT NULL,
    closed_at    BIGINT,
    -- 'here' or 'loaded': a bulk load never overwrites the status of a case opened here
    origin       TEXT NOT NULL,
    version      BIGINT NOT NULL
);
CREATE UNIQUE INDEX case_file_number ON case_file (brand, case_number);
-- REC-03: one reconsideration may be open for a claim at a time
CREATE UNIQUE INDEX case_file_one_open_per_claim ON case_file (brand, claim_number)
    WHERE kind = 'reconsideration' AND closed_at IS NULL;
CREATE INDEX case_file_by_claim ON case_file (brand, claim_number);
CREATE INDEX case_file_by_acn ON case_file (brand, attachment_control_number);
CREATE INDEX case_file_by_member ON case_file (brand, member_id);

CREATE TABLE submission (
    id            TEXT PRIMARY KEY,
    brand         TEXT NOT NULL,
    reference     TEXT NOT NULL UNIQUE,
    kind          TEXT NOT NULL,
    state         TEXT NOT NULL,
    -- what the sender said, as JSON of `Said`
    said          TEXT NOT NULL,
    channel       TEXT NOT NULL,
    tin_uid       TEXT,
    sender_reference TEXT,
    -- the failed submission whose clean files this one took over (INT-13)
    resubmits     TEXT,
    file_count    BIGINT NOT NULL,
    version       BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    submitted_at  BIGINT,
    ended_at      BIGINT
);
CREATE INDEX submission_by_state ON submission (state, created_at);
CREATE INDEX submission_by_resubmits ON submission (resubmits) WHERE resubmits IS NOT NULL;

-- What `cases` made of a submission: its answer, written in its own transaction.
CREATE TABLE case_answer (
    submission_id TEXT PRIMARY KEY,
    case_id       TEXT,
    answer        TEXT NOT NULL,
    at            BIGINT NOT NULL
);
CREATE INDEX case_answer_by_case ON case_answer (case_id);

CREATE TABLE document (
    id             TEXT PRIMARY KEY,
    brand          TEXT NOT NULL,
    submission_id  TEXT,
    state          TEXT NOT NULL,
    channel        TEXT NOT NULL,
    -- the sender's name for the file, raw, and the form in which two names are the same (INT-04)
    file_name      TEXT NOT NULL,
    file_name_key  TEXT NOT NULL,
    size_bytes     BIGINT,
    sha256         TEXT,
    incoming_version TEXT,
    node           TEXT NOT NULL,
    file_type      TEXT,
    detected       TEXT,
    flags          TEXT,
    verdict        TEXT,
    signature      TEXT,
    engine         TEXT,
    signatures     TEXT,
    reason_code    TEXT,
    reason         TEXT,
    case_id        TEXT,
    -- legal receipt time (INT-20), apart from when the row was made and when the bytes were durable
    received_at    BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    accepted_at    BIGINT,
    ended_at       BIGINT,
    version        BIGINT NOT NULL
);
CREATE INDEX document_by_submission ON document (submission_id, created_at, id);
CREATE INDEX document_by_state ON document (state, created_at);
CREATE INDEX document_by_content ON document (brand, sha256);
CREATE INDEX document_by_case ON document (case_id);
CREATE UNIQUE INDEX document_name_in_submission ON document (submission_id, file_name_key)
    WHERE state NOT IN ('rejected', 'withdrawn', 'purged');

-- The judged bytes, once per brand; documents refer to them by hash (INT-14).
CREATE TABLE content (
    brand      TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    -- clean | infected | deleting
    state      TEXT NOT NULL,
    version_id TEXT,
    signature  TEXT,
    engine     TEXT NOT NULL,
    signatures TEXT NOT NULL,
    judged_at  BIGINT NOT NULL,
    PRIMARY KEY (brand, sha256)
);
CREATE INDEX content_by_signatures ON content (state, signatures);

-- The decision that a document belongs to a case, or the three best proposals, each with its evidence (INT-17).
CREATE TABLE match_candidate (
    document_id TEXT NOT NULL,
    place       BIGINT NOT NULL,
    case_id     TEXT NOT NULL,
    millibits   BIGINT NOT NULL,
    evidence    TEXT NOT NULL,
    PRIMARY KEY (document_id, place)
);
