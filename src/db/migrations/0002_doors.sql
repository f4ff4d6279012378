-- The doors: who may come in, by which ways documents come, and what waits for a person.

-- A key of a service. Its secrets are rows of their own, so that one can be rotated with an overlap.
CREATE TABLE api_key (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    -- codes of Scope, joined by blanks
    scopes     TEXT NOT NULL,
    -- 'all' or 'only': then the rows of api_key_tin
    tins       TEXT NOT NULL,
    -- code of Mode
    mode       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- every key ends; rotating it sets a new end
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    version    BIGINT NOT NULL
);
CREATE TABLE api_key_tin (
    key_id TEXT NOT NULL,
    tin    TEXT NOT NULL,
    PRIMARY KEY (key_id, tin)
);
-- SHA-256 of the whole key as it is sent: 256 random bits need no slow hash.
CREATE TABLE api_key_secret (
    hash       TEXT PRIMARY KEY,
    key_id     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- set when a newer one took its place: it works until then
    expires_at BIGINT
);
CREATE INDEX api_key_secret_by_key ON api_key_secret (key_id);

-- A person with a login: a practice's user, or one of the payer's own people when there are roles.
CREATE TABLE app_user (
    id          TEXT PRIMARY KEY,
    -- who vouches for the login, and under which name: the issuer and subject of OIDC, or a portal's
    issuer      TEXT NOT NULL,
    subject     TEXT NOT NULL,
    name        TEXT NOT NULL,
    email       TEXT,
    -- codes of Role, joined by blanks
    roles       TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    disabled_at BIGINT,
    version     BIGINT NOT NULL,
    UNIQUE (issuer, subject)
);

-- The rights of a user for a TIN (OPS-13). A row without rights stands for none and stays: its version goes on, so
-- that what was read before they were taken away can't pass for what is there when they are given again.
CREATE TABLE user_tin (
    user_id      TEXT NOT NULL,
    tin          TEXT NOT NULL,
    -- codes of Entitlement, joined by blanks
    entitlements TEXT NOT NULL,
    -- since when the user administers the TIN
    manager_since BIGINT,
    version      BIGINT NOT NULL,
    PRIMARY KEY (user_id, tin)
);
CREATE INDEX user_tin_by_tin ON user_tin (tin, user_id);

-- A request under an Idempotency-Key (INT-31). Claimed before its body is read.
CREATE TABLE idempotency (
    principal   TEXT NOT NULL,
    name        TEXT NOT NULL,
    route       TEXT NOT NULL,
    -- 'running' or 'done'
    state       TEXT NOT NULL,
    token       TEXT NOT NULL,
    lease_until BIGINT NOT NULL,
    -- the id of what the request makes, chosen with the claim: whoever repeats it finds what was made
    resource    TEXT NOT NULL,
    -- hash of what the request said; known once it was read. Files are compared with the documents they became
    fingerprint TEXT,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    PRIMARY KEY (principal, name)
);
CREATE INDEX idempotency_by_token ON idempotency (token);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);

-- A resumable upload (tus 1.0) and its parts, each an object of its own.
CREATE TABLE upload (
    id            TEXT PRIMARY KEY,
    submission_id TEXT NOT NULL,
    brand         TEXT NOT NULL,
    owner         TEXT NOT NULL,
    file_name     TEXT NOT NULL,
    -- what the sender said of it, in the sender's own form
    metadata      TEXT,
    -- code of UploadState
    state         TEXT NOT NULL,
    length_bytes  BIGINT NOT NULL,
    offset_bytes  BIGINT NOT NULL,
    parts         BIGINT NOT NULL,
    -- who writes now, until when
    lease_token   TEXT,
    lease_until   BIGINT,
    -- the lease whose writer was asked to give way, should nothing come to it
    give_way      TEXT,
    -- the document it is to become: chosen before, so that after a crash it can be told whether it did
    document_id   TEXT NOT NULL,
    -- tries to complete it that failed for a passing reason, and before when there is no other
    tries         BIGINT NOT NULL,
    due_at        BIGINT NOT NULL,
    -- why it was refused
    reason_code   TEXT,
    reason        TEXT,
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL
);
CREATE INDEX upload_by_expiry ON upload (state, expires_at);
CREATE INDEX upload_by_owner ON upload (owner) WHERE state = 'receiving';
CREATE INDEX upload_by_due ON upload (due_at) WHERE state = 'receiving' AND offset_bytes = length_bytes;
CREATE TABLE upload_part (
    upload_id   TEXT NOT NULL,
    first_byte  BIGINT NOT NULL,
    size_bytes  BIGINT NOT NULL,
    sha256      TEXT NOT NULL,
    -- the object's
    name        TEXT NOT NULL,
    version_id  TEXT,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (upload_id, first_byte)
);

-- What waits for a person: a row per document in a state where somebody must act (OPS-02). Written and taken away
-- with the document's state.
CREATE TABLE task (
    document_id TEXT PRIMARY KEY,
    -- 'match' or 'held'
    kind        TEXT NOT NULL,
    brand       TEXT NOT NULL,
    mode        TEXT NOT NULL,
    -- legal receipt: its age counts from here
    received_at BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    deadline_at BIGINT NOT NULL,
    -- whether a breach to come has been told
    warned_at   BIGINT,
    -- who looks at it, until when: two people never get the same item (OPS-01)
    holder      TEXT,
    lease_token TEXT,
    lease_until BIGINT
);
CREATE INDEX task_by_deadline ON task (mode, kind, deadline_at, document_id);
CREATE INDEX task_by_brand ON task (brand, kind, deadline_at, document_id);
CREATE INDEX task_by_receipt ON task (mode, kind, received_at);
CREATE INDEX task_by_brand_receipt ON task (brand, kind, received_at);
CREATE INDEX task_by_lease ON task (kind, lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX task_unwarned ON task (deadline_at, document_id) WHERE warned_at IS NULL;
-- a new deadline of a case reaches the documents that are proposed for it
CREATE INDEX match_candidate_by_case ON match_candidate (case_id);
CREATE INDEX member_by_birth_date ON member (brand, birth_date);
CREATE INDEX task_by_holder ON task (holder) WHERE holder IS NOT NULL;

-- What a source gave (watched folder or bucket prefix). One row per file as it was listed: it is taken once.
CREATE TABLE source_item (
    source      TEXT NOT NULL,
    -- HMAC of name, size and time: file names are health data
    item        TEXT NOT NULL,
    -- taking | taken | problem | gone
    state       TEXT NOT NULL,
    -- the id its document has or would have had; what is put away lies under it
    document_id TEXT NOT NULL,
    -- how often it was begun
    tries       BIGINT NOT NULL,
    -- code of ProblemCode and its sentence: why it was not taken, or what of its sidecar was not
    reason_code TEXT,
    reason      TEXT,
    batch_id    TEXT,
    -- the index that named it
    index_item  TEXT,
    seen_at     BIGINT NOT NULL,
    -- when it was put away: from then on a file like it is another one
    ended_at    BIGINT,
    version     BIGINT NOT NULL,
    PRIMARY KEY (source, item)
);
CREATE INDEX source_item_open ON source_item (source, seen_at) WHERE ended_at IS NULL;
CREATE INDEX source_item_problem ON source_item (seen_at, item) WHERE reason_code IS NOT NULL;
CREATE INDEX source_item_by_index ON source_item (source, index_item) WHERE index_item IS NOT NULL;

-- A mailroom batch with its counts (OPS-07).
CREATE TABLE mailroom_batch (
    id                 TEXT PRIMARY KEY,
    source             TEXT NOT NULL,
    name               TEXT NOT NULL,
    channel            TEXT NOT NULL,
    expected_documents BIGINT,
    expected_pages     BIGINT,
    created_at         BIGINT NOT NULL,
    UNIQUE (source, name)
);
CREATE INDEX mailroom_batch_by_created ON mailroom_batch (created_at, id);

-- Misdirected mail that was sent back (OPS-07).
CREATE TABLE return_log (
    document_id TEXT PRIMARY KEY,
    brand       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    actor       TEXT NOT NULL,
    at          BIGINT NOT NULL
);
CREATE INDEX return_log_by_at ON return_log (at, document_id);

-- What a document alone was said to be about (a sidecar), as JSON of `Said`; what it was split from; its pages and
-- its batch.
ALTER TABLE document ADD COLUMN said TEXT;
ALTER TABLE document ADD COLUMN parent_id TEXT;
ALTER TABLE document ADD COLUMN pages BIGINT;
ALTER TABLE document ADD COLUMN batch_id TEXT;
-- code of the reason that a person released it from, so that it is not held for that again
ALTER TABLE document ADD COLUMN waived TEXT;
CREATE INDEX document_by_batch ON document (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX document_by_parent ON document (parent_id) WHERE parent_id IS NOT NULL;

-- Who opened a submission, and the practice it is about: what a caller may see goes by these.
ALTER TABLE submission ADD COLUMN owner TEXT NOT NULL DEFAULT 'system';
ALTER TABLE submission ADD COLUMN tin TEXT;
CREATE INDEX submission_by_owner ON submission (owner, created_at, id);
CREATE INDEX submission_by_tin ON submission (tin, created_at, id);
CREATE INDEX submission_by_sender_reference ON submission (owner, sender_reference, created_at, id) WHERE sender_reference IS NOT NULL;
CREATE INDEX submission_by_created ON submission (created_at, id);

-- A case's own nearest deadline, and whether it holds behavioral or substance-use records; both from the bulk load
-- until cases have their rules.
ALTER TABLE case_file ADD COLUMN deadline_at BIGINT;
ALTER TABLE case_file ADD COLUMN sensitive_since BIGINT;

-- Documents that waited for a person before there were tasks.
INSERT INTO task (document_id, kind, brand, mode, received_at, created_at, deadline_at)
SELECT id, CASE WHEN state = 'held' THEN 'held' ELSE 'match' END, brand, 'live', received_at, received_at,
       received_at + 86400000000
FROM document WHERE state IN ('needs_review', 'unmatched', 'held');

-- the audit log is searched in the order of time
CREATE INDEX event_by_type ON event (type, at, position);
CREATE INDEX event_by_actor ON event (actor, at, position);
CREATE INDEX event_by_at ON event (at, position);
CREATE INDEX work_dead ON work (created_at, subject, stage) WHERE state = 'dead';
-- The order of the lists goes on where the first columns are the same: a page needs no sorting, a claim neither.
DROP INDEX work_by_due;
CREATE INDEX work_by_due ON work (stage, state, due_at, subject);
DROP INDEX event_by_subject;
CREATE INDEX event_by_subject ON event (subject, at, position);
DROP INDEX document_by_case;
CREATE INDEX document_by_case ON document (case_id, created_at, id);
