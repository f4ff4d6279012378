-- Notifications: what a user is to be told of, the digests that tell of it, when those go, and what became of each mail.

-- A user's own choice for a TIN and a category (COR-30). No row: what policy starts with.
CREATE TABLE digest_choice (
    user_id    TEXT NOT NULL,
    tin        TEXT NOT NULL,
    -- code of LetterCategory
    category   TEXT NOT NULL,
    -- code of Cadence
    cadence    TEXT NOT NULL,
    -- code of ChoiceSource
    source     TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    PRIMARY KEY (user_id, tin, category)
);

-- A message that a user is told of. Written with the message, one for each user who may read it then; so a digest takes
-- what stands here, and not a stretch of time.
CREATE TABLE notification (
    user_id      TEXT NOT NULL,
    message_id   TEXT NOT NULL,
    brand        TEXT NOT NULL,
    tin          TEXT NOT NULL,
    -- code of LetterCategory
    category     TEXT NOT NULL,
    -- code of DigestKind
    kind         TEXT NOT NULL,
    published_at BIGINT NOT NULL,
    -- by when an answer is wanted, where that is known
    due_at       BIGINT,
    -- code of NotificationState
    state        TEXT NOT NULL,
    -- code of LeftOut
    reason       TEXT,
    -- the mail that it is in, or was taken out of
    mail_id      TEXT,
    decided_at   BIGINT,
    -- 1: it was in a mail that did not go on its day. The next run takes it, whatever cadence that serves
    carried      BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, message_id)
);
CREATE INDEX notification_waiting ON notification (brand, user_id, tin, category) WHERE state = 'waiting';
CREATE INDEX notification_by_mail ON notification (mail_id, tin) WHERE mail_id IS NOT NULL;
-- a user's feed, newest first
CREATE INDEX notification_by_user ON notification (user_id, published_at, message_id);
-- what an edited schedule would have done
CREATE INDEX notification_by_published ON notification (brand, published_at);

-- When digests go, per brand and cadence (OPS-10). The truth is this row: every node looks at it each second.
CREATE TABLE schedule (
    id         TEXT PRIMARY KEY,
    -- brand and cadence: what people call it by
    name       TEXT NOT NULL UNIQUE,
    brand      TEXT NOT NULL,
    -- code of Cadence: daily or weekly
    cadence    TEXT NOT NULL,
    -- the revision in force
    revision   BIGINT NOT NULL,
    paused_at  BIGINT,
    paused_by  TEXT,
    created_at BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    UNIQUE (brand, cadence)
);
-- What a schedule says, and said. Nothing of it changes but the state.
CREATE TABLE schedule_revision (
    schedule_id TEXT NOT NULL,
    -- from 1
    revision    BIGINT NOT NULL,
    -- code of RevisionState
    state       TEXT NOT NULL,
    -- as JSON of `Timing`
    timing      TEXT NOT NULL,
    -- the revision that it goes back to
    rolls_back  BIGINT,
    proposed_by TEXT NOT NULL,
    proposed_at BIGINT NOT NULL,
    confirmed_by TEXT,
    confirmed_at BIGINT,
    PRIMARY KEY (schedule_id, revision)
);

-- One run: a local period of a schedule, or one that a person asked for.
CREATE TABLE digest_run (
    id          TEXT PRIMARY KEY,
    schedule_id TEXT NOT NULL,
    brand       TEXT NOT NULL,
    cadence     TEXT NOT NULL,
    -- code of RunKind
    kind        TEXT NOT NULL,
    -- the local period: a day, 2026-11-23, or a week, 2026-W48
    period      TEXT NOT NULL,
    -- the brand's local day on which it is planned: its mails are of that day (COR-33)
    day         TEXT NOT NULL,
    -- code of RunState
    state       TEXT NOT NULL,
    -- codes of Cadence, joined by blanks: whose choices it serves
    serves      TEXT NOT NULL,
    -- that of the schedule
    revision    BIGINT NOT NULL,
    due_at      BIGINT NOT NULL,
    -- why it was skipped, held or stopped
    reason      TEXT,
    -- how far the planning has come: users up to and with this one
    planned_to  TEXT,
    users       BIGINT NOT NULL,
    mails       BIGINT NOT NULL,
    items       BIGINT NOT NULL,
    letters     BIGINT NOT NULL,
    left_out    BIGINT NOT NULL,
    asked_by    TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    planned_at  BIGINT,
    ended_at    BIGINT,
    version     BIGINT NOT NULL
);
-- no period is run twice, whatever is edited meanwhile
CREATE UNIQUE INDEX digest_run_of_period ON digest_run (schedule_id, period) WHERE kind = 'scheduled';
CREATE INDEX digest_run_open ON digest_run (due_at, id) WHERE ended_at IS NULL;
CREATE INDEX digest_run_by_schedule ON digest_run (schedule_id, due_at, id);

-- A mail: one per user, brand, kind and local day of the brand (COR-33); its id is made of these.
CREATE TABLE digest_mail (
    id          TEXT PRIMARY KEY,
    run_id      TEXT NOT NULL,
    brand       TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    -- code of DigestKind
    kind        TEXT NOT NULL,
    day         TEXT NOT NULL,
    -- code of MailState
    state       TEXT NOT NULL,
    -- why it is where it is: a code of ours, or the relay's reply code
    reason      TEXT,
    -- as planned, and as sent
    items       BIGINT NOT NULL,
    letters     BIGINT NOT NULL,
    sent_items  BIGINT,
    sent_letters BIGINT,
    tries       BIGINT NOT NULL,
    -- when it is to be taken; NULL: not now, or not any more
    next_at     BIGINT,
    -- who has it; kept when it is in doubt, so that a late answer of the relay is still known for what it is
    lease_token TEXT,
    lease_until BIGINT,
    relay       TEXT,
    template_version TEXT,
    submitted_at BIGINT,
    ended_at    BIGINT,
    created_at  BIGINT NOT NULL,
    version     BIGINT NOT NULL,
    -- in this order: a slice of users that is planned finds its mails side by side
    UNIQUE (brand, day, user_id, kind)
);
CREATE INDEX digest_mail_due ON digest_mail (next_at, id) WHERE next_at IS NOT NULL;
-- what did not go on its day, of a slice of users
CREATE INDEX digest_mail_unsent ON digest_mail (brand, user_id) WHERE next_at IS NOT NULL;
CREATE INDEX digest_mail_leased ON digest_mail (lease_until, id) WHERE lease_until IS NOT NULL;
CREATE INDEX digest_mail_by_run ON digest_mail (run_id, state, id);
CREATE INDEX digest_mail_by_user ON digest_mail (user_id, day, id);
CREATE INDEX digest_mail_in_doubt ON digest_mail (submitted_at, id) WHERE state = 'in_doubt';

-- What a mail tells of: one per user, TIN, kind and run.
CREATE TABLE digest_item (
    mail_id      TEXT NOT NULL,
    tin          TEXT NOT NULL,
    letters      BIGINT NOT NULL,
    -- as sent; 0: left out
    sent_letters BIGINT,
    -- letters that a later mail tells of, for this one did not go on its day
    carried      BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (mail_id, tin)
);

-- An address that nothing is sent to (COR-34): it bounced for good, or its owner complained.
CREATE TABLE mail_suppression (
    id         TEXT PRIMARY KEY,
    -- its domain in small letters
    address    TEXT NOT NULL,
    -- code of SuppressionReason
    reason     TEXT NOT NULL,
    -- the status code of RFC 3463, or the kind of complaint of RFC 5965
    detail     TEXT,
    -- the mail that it was about, where that is known
    mail_id    TEXT,
    created_at BIGINT NOT NULL,
    lifted_at  BIGINT,
    lifted_by  TEXT,
    version    BIGINT NOT NULL
);
CREATE UNIQUE INDEX mail_suppression_standing ON mail_suppression (address) WHERE lifted_at IS NULL;
-- however an address is written
CREATE INDEX mail_suppression_by_lower ON mail_suppression (LOWER(address)) WHERE lifted_at IS NULL;

-- By when an answer is wanted, where its letter says so.
ALTER TABLE message ADD COLUMN due_at BIGINT;
-- How many users were to be told of it: the ledger compares it with their notifications.
ALTER TABLE message ADD COLUMN notified BIGINT NOT NULL DEFAULT 0;
