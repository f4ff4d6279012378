-- Correspondence: what asks for letters, the letters, their deliveries, and what users see of them.

-- What letters are addressed by; from the bulk load. An address is JSON of `Address`.
ALTER TABLE tin ADD COLUMN address TEXT;
ALTER TABLE tin ADD COLUMN fax TEXT;
-- the day the practice registered for digital correspondence (COR-10)
ALTER TABLE tin ADD COLUMN registered_on TEXT;
ALTER TABLE member ADD COLUMN address TEXT;
-- the plan's code, as the payer names it: which are digital is policy (COR-03)
ALTER TABLE member ADD COLUMN plan TEXT;

-- What was told with a change of a case's status, for the letter that follows from it: it holds health data, so it is
-- not in the event. By the version of the case that the change made.
CREATE TABLE status_detail (
    case_id     TEXT NOT NULL,
    version     BIGINT NOT NULL,
    -- code of LetterType; NULL: no letter
    letter_type TEXT,
    -- code of AddresseeKind
    addressee   TEXT NOT NULL,
    -- codes of Circumstance, joined by blanks
    circumstances TEXT NOT NULL,
    -- as JSON
    details     TEXT NOT NULL,
    PRIMARY KEY (case_id, version)
);

CREATE TABLE letter (
    id            TEXT PRIMARY KEY,
    -- what is quoted on the phone
    number        TEXT NOT NULL UNIQUE,
    brand         TEXT NOT NULL,
    type          TEXT NOT NULL,
    -- code of LetterCategory, that of the type
    category      TEXT NOT NULL,
    -- code of LetterState
    state         TEXT NOT NULL,
    -- who asked, and by which event of theirs: asked for again it is the same letter
    asker         TEXT NOT NULL,
    event_id      TEXT NOT NULL,
    -- 'tin' or 'member'
    addressee     TEXT NOT NULL,
    tin           TEXT,
    member_id     TEXT,
    claim_number  TEXT,
    case_id       TEXT,
    -- what was said for it, as JSON: typed by the letter's type
    details       TEXT NOT NULL,
    -- codes of Circumstance, joined by blanks: what was said for its routing
    circumstances TEXT NOT NULL,
    -- the whole data it is rendered from, as JSON, once it is composed; with the versions it says how it was made
    data          TEXT,
    letter_date   TEXT,
    template_version TEXT,
    brand_version TEXT,
    engine_version TEXT,
    -- the PDF, never to change
    sha256        TEXT,
    size_bytes    BIGINT,
    pages         BIGINT,
    -- why it was refused or stopped
    reason_code   TEXT,
    reason        TEXT,
    -- by when an operator must have acted on a refused one
    due_at        BIGINT,
    warned_at     BIGINT,
    -- the letter it takes the place of, and the one that took its place (COR-16)
    supersedes    TEXT,
    superseded_by TEXT,
    created_at    BIGINT NOT NULL,
    ended_at      BIGINT,
    version       BIGINT NOT NULL,
    UNIQUE (asker, event_id, type)
);
CREATE INDEX letter_by_state ON letter (state, created_at, id);
CREATE INDEX letter_by_due ON letter (due_at, id) WHERE state = 'refused';
CREATE INDEX letter_by_claim ON letter (brand, claim_number, created_at, id) WHERE claim_number IS NOT NULL;
CREATE INDEX letter_by_case ON letter (case_id, created_at, id) WHERE case_id IS NOT NULL;
CREATE INDEX letter_by_tin ON letter (tin, created_at, id) WHERE tin IS NOT NULL;
CREATE INDEX letter_by_content ON letter (brand, sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX letter_by_created ON letter (created_at, id);

-- One way of a letter to its addressee.
CREATE TABLE delivery (
    id          TEXT PRIMARY KEY,
    letter_id   TEXT NOT NULL,
    brand       TEXT NOT NULL,
    -- code of DeliveryChannel
    channel     TEXT NOT NULL,
    -- code of DeliveryState
    state       TEXT NOT NULL,
    -- codes of RouteReason, joined by blanks, the deciding one first (COR-14)
    reasons     TEXT NOT NULL,
    tin         TEXT,
    -- why it was stopped
    reason      TEXT,
    created_at  BIGINT NOT NULL,
    ended_at    BIGINT,
    version     BIGINT NOT NULL,
    UNIQUE (letter_id, channel)
);
CREATE INDEX delivery_by_state ON delivery (channel, state, created_at, id);
CREATE INDEX delivery_by_tin ON delivery (tin, channel, state) WHERE tin IS NOT NULL;

-- The access manager's choice of paper beside digital, per category (COR-11, COR-12). A row stays when it is turned
-- off: its version goes on.
CREATE TABLE tin_paper (
    tin       TEXT NOT NULL,
    -- code of LetterCategory
    category  TEXT NOT NULL,
    -- since when it is on; NULL: off
    since     BIGINT,
    changed_by TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    version   BIGINT NOT NULL,
    PRIMARY KEY (tin, category)
);

-- What is held back before it goes out (COR-16): a type of letter or a practice, as long as the row is there.
CREATE TABLE letter_hold (
    id         TEXT PRIMARY KEY,
    brand      TEXT NOT NULL,
    -- one of both
    type       TEXT,
    tin        TEXT,
    reason     TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    lifted_at  BIGINT,
    version    BIGINT NOT NULL
);
-- one standing hold of each
CREATE UNIQUE INDEX letter_hold_of_type ON letter_hold (brand, type) WHERE lifted_at IS NULL AND type IS NOT NULL;
CREATE UNIQUE INDEX letter_hold_of_tin ON letter_hold (brand, tin) WHERE lifted_at IS NULL AND tin IS NOT NULL;
CREATE INDEX letter_hold_by_created ON letter_hold (created_at, id);

-- What users see in the Messaging Center: a letter, or a notice of a change of status. One row for all users of the
-- practice; who sees it is asked anew each time (COR-20).
CREATE TABLE message (
    id           TEXT PRIMARY KEY,
    brand        TEXT NOT NULL,
    mode         TEXT NOT NULL,
    tin          TEXT NOT NULL,
    -- code of LetterCategory
    category     TEXT NOT NULL,
    -- code of LetterType, or 'notice'
    type         TEXT NOT NULL,
    letter_id    TEXT,
    case_id      TEXT,
    claim_number TEXT,
    -- the member it is about, where one is known
    member_id    TEXT,
    -- what a notice tells: the status, in the words of its kind
    status       TEXT,
    -- the event that made a notice: read again it makes no other
    event_id     TEXT,
    published_at BIGINT NOT NULL,
    -- it is read online until then (COR-23)
    online_until BIGINT NOT NULL,
    -- when the job took it offline
    offline_at   BIGINT,
    action_required_at BIGINT,
    -- who opened it first, and when (COR-26)
    opened_at    BIGINT,
    opened_by    TEXT,
    -- when it was reported as unread
    reported_at  BIGINT
);
CREATE UNIQUE INDEX message_of_letter ON message (letter_id, tin) WHERE letter_id IS NOT NULL;
CREATE UNIQUE INDEX message_of_event ON message (event_id) WHERE event_id IS NOT NULL;
-- what is offline is in no list: the index ends where the lists do
CREATE INDEX message_by_tin ON message (mode, tin, category, published_at, id) WHERE offline_at IS NULL;
CREATE INDEX message_by_case ON message (case_id, published_at, id) WHERE case_id IS NOT NULL;
CREATE INDEX message_by_claim ON message (brand, claim_number, published_at, id) WHERE claim_number IS NOT NULL;
CREATE INDEX message_by_end ON message (online_until, id) WHERE offline_at IS NULL;
CREATE INDEX message_unopened ON message (mode, published_at, id)
    WHERE action_required_at IS NOT NULL AND opened_at IS NULL AND offline_at IS NULL;
CREATE INDEX message_unreported ON message (published_at, id)
    WHERE action_required_at IS NOT NULL AND opened_at IS NULL AND reported_at IS NULL AND offline_at IS NULL;

-- What one user did to a message. No row: unread, in the inbox.
CREATE TABLE message_mark (
    user_id     TEXT NOT NULL,
    message_id  TEXT NOT NULL,
    -- that of the message: the folders go by it
    published_at BIGINT NOT NULL,
    read_at     BIGINT,
    flagged_at  BIGINT,
    archived_at BIGINT,
    deleted_at  BIGINT,
    PRIMARY KEY (user_id, message_id)
);
CREATE INDEX message_mark_flagged ON message_mark (user_id, published_at, message_id)
    WHERE flagged_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX message_mark_archived ON message_mark (user_id, published_at, message_id)
    WHERE archived_at IS NOT NULL AND deleted_at IS NULL;

-- What a user chose not to see (COR-24): a category, or one type of it.
CREATE TABLE message_hidden (
    user_id  TEXT NOT NULL,
    category TEXT NOT NULL,
    -- code of LetterType, 'notice', or '' for all of the category
    type     TEXT NOT NULL,
    PRIMARY KEY (user_id, category, type)
);
