-- Tries to send a letter by fax: the files of one are called by delivery and number.
CREATE TABLE fax_job (
    delivery_id TEXT NOT NULL,
    -- from 1
    number      BIGINT NOT NULL,
    -- code of FaxState
    state       TEXT NOT NULL,
    pages       BIGINT NOT NULL,
    prepared_at BIGINT NOT NULL,
    handed_at   BIGINT,
    -- by when the gateway must have answered; of a failed one that is tried again, when
    due_at      BIGINT NOT NULL,
    answered_at BIGINT,
    -- in the gateway's words
    reason      TEXT,
    version     BIGINT NOT NULL,
    PRIMARY KEY (delivery_id, number)
);
CREATE INDEX fax_job_by_state ON fax_job (state, due_at, delivery_id);
