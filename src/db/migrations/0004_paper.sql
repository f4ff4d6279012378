-- Letters on paper: print batches, their envelopes, and what a person must see to before a letter can go.

CREATE TABLE print_batch (
    id            TEXT PRIMARY KEY,
    -- what stands on its sheets and in their marks
    name          TEXT NOT NULL UNIQUE,
    brand         TEXT NOT NULL,
    -- code of BatchKind
    kind          TEXT NOT NULL,
    -- the local day of the cut-off; of other kinds that on which it was closed
    day           TEXT NOT NULL,
    -- code of BatchState
    state         TEXT NOT NULL,
    -- what was decided before this instant was taken
    cut_off_at    BIGINT NOT NULL,
    envelopes     BIGINT NOT NULL,
    letters       BIGINT NOT NULL,
    pages         BIGINT NOT NULL,
    sheets        BIGINT NOT NULL,
    -- print file and manifests, once they are stored
    pdf_sha256    TEXT,
    pdf_bytes     BIGINT,
    pdf_pages     BIGINT,
    json_sha256   TEXT,
    json_bytes    BIGINT,
    csv_sha256    TEXT,
    csv_bytes     BIGINT,
    -- nobody gets its print file as long as it is held
    held_at       BIGINT,
    held_by       TEXT,
    held_reason   TEXT,
    closed_by     TEXT NOT NULL,
    closed_at     BIGINT NOT NULL,
    assembled_at  BIGINT,
    done_at       BIGINT,
    version       BIGINT NOT NULL
);
-- no day is closed twice
CREATE UNIQUE INDEX print_batch_of_day ON print_batch (brand, day) WHERE kind = 'daily';
CREATE INDEX print_batch_by_closed ON print_batch (closed_at, id);

CREATE TABLE envelope (
    id           TEXT PRIMARY KEY,
    batch_id     TEXT NOT NULL,
    brand        TEXT NOT NULL,
    -- its place in the batch, from 1
    sequence     BIGINT NOT NULL,
    -- code of EnvelopeState
    state        TEXT NOT NULL,
    -- code of AddresseeKind, and the TIN or the member's id
    addressee    TEXT NOT NULL,
    addressee_key TEXT NOT NULL,
    -- where it goes, as JSON, and the hash of that in the spelling of the post
    address      TEXT NOT NULL,
    address_hash TEXT NOT NULL,
    -- 1: a sheet with that address lies on top, for the letters have another
    carrier      BIGINT NOT NULL,
    -- of its letters; sheets with the one on top
    pages        BIGINT NOT NULL,
    sheets       BIGINT NOT NULL,
    -- what its Intelligent Mail barcode says of it
    mailer_id    TEXT NOT NULL,
    serial       BIGINT NOT NULL,
    -- the spoiled one whose place it took: of each exactly one
    reprint_of   TEXT UNIQUE,
    -- why it was spoiled or came back
    reason       TEXT,
    printed_at   BIGINT,
    inserted_at  BIGINT,
    mailed_at    BIGINT,
    spoiled_at   BIGINT,
    returned_at  BIGINT,
    version      BIGINT NOT NULL,
    UNIQUE (batch_id, sequence)
);
CREATE INDEX envelope_by_serial ON envelope (mailer_id, serial);
CREATE INDEX envelope_by_state ON envelope (batch_id, state, sequence);
CREATE INDEX envelope_returned ON envelope (brand, addressee, addressee_key, address_hash) WHERE state = 'returned';

CREATE TABLE envelope_letter (
    envelope_id TEXT NOT NULL,
    -- from 1, the first on top
    position    BIGINT NOT NULL,
    letter_id   TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    PRIMARY KEY (envelope_id, position)
);
CREATE INDEX envelope_letter_by_delivery ON envelope_letter (delivery_id);

-- The next serial number of a mailer. Who closes a batch holds the row until the end of the transaction.
CREATE TABLE mail_serial (
    mailer_id TEXT PRIMARY KEY,
    next      BIGINT NOT NULL
);

-- Another address that a person gave for an addressee's: letters keep what is printed on them.
CREATE TABLE address_correction (
    brand         TEXT NOT NULL,
    addressee     TEXT NOT NULL,
    addressee_key TEXT NOT NULL,
    -- of the address in whose place it is
    address_hash  TEXT NOT NULL,
    -- as JSON
    address       TEXT NOT NULL,
    created_by    TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (brand, addressee, addressee_key, address_hash)
);

-- What a person must see to. As long as one about an address stands, letters to it wait.
CREATE TABLE paper_task (
    id            TEXT PRIMARY KEY,
    brand         TEXT NOT NULL,
    -- code of PaperTaskKind
    kind          TEXT NOT NULL,
    addressee     TEXT NOT NULL,
    addressee_key TEXT NOT NULL,
    address_hash  TEXT NOT NULL,
    -- the address, as JSON
    address       TEXT NOT NULL,
    -- the letter that no envelope takes; else the first that waits
    letter_id     TEXT,
    -- codes, joined by blanks
    reasons       TEXT NOT NULL,
    due_at        BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    ended_at      BIGINT,
    ended_by      TEXT,
    -- code of PaperTaskEnd
    ending        TEXT,
    version       BIGINT NOT NULL
);
CREATE UNIQUE INDEX paper_task_of_address ON paper_task (brand, addressee, addressee_key, address_hash)
    WHERE kind = 'address' AND ended_at IS NULL;
CREATE UNIQUE INDEX paper_task_of_letter ON paper_task (letter_id) WHERE kind = 'too_large' AND ended_at IS NULL;
CREATE INDEX paper_task_by_due ON paper_task (due_at, id) WHERE ended_at IS NULL;
