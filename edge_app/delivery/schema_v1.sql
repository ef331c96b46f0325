-- Version 1 of the outbox. The number of the version is PRAGMA user_version.

-- Committed events that are not yet delivered. seq is assigned by the owner and, by AUTOINCREMENT,
-- never used again. body are the bytes that every delivery sends; crc is zlib.crc32 of them.
-- parked says why the broker would not have the row; a parked row is left out of the normal order.
CREATE TABLE outbox (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id BLOB    NOT NULL UNIQUE,
    priority INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    mono_ns  INTEGER NOT NULL,
    wall_ms  INTEGER,
    body     BLOB    NOT NULL,
    crc      INTEGER NOT NULL,
    parked   TEXT
);
CREATE INDEX outbox_order ON outbox (priority, seq) WHERE parked IS NULL;
CREATE INDEX outbox_parked ON outbox (kind, seq) WHERE parked IS NOT NULL;

-- How many rows and bytes there are of each priority, so that neither start nor status has to count.
CREATE TABLE tally (
    priority INTEGER PRIMARY KEY,
    n        INTEGER NOT NULL,
    bytes    INTEGER NOT NULL
);
INSERT INTO tally (priority, n, bytes) VALUES (0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0);

-- Which consumer has receipted a row that others have not.
CREATE TABLE receipt (
    seq      INTEGER NOT NULL,
    consumer TEXT    NOT NULL,
    PRIMARY KEY (seq, consumer)
) WITHOUT ROWID;

-- The loss ledger. gap_seq is the number of the event that reports the loss, NULL until there is one.
CREATE TABLE loss (
    id       INTEGER PRIMARY KEY,
    from_seq INTEGER NOT NULL,
    to_seq   INTEGER NOT NULL,
    n        INTEGER,
    reason   TEXT    NOT NULL,
    kinds    TEXT    NOT NULL,
    gap_seq  INTEGER
);
CREATE INDEX loss_gap ON loss (gap_seq);

-- Alarms that stand (their event's body is retained at the broker), and those cleared whose retained
-- message is still to be removed (body NULL).
CREATE TABLE alarm (
    id   TEXT PRIMARY KEY,
    seq  INTEGER NOT NULL,
    body BLOB
) WITHOUT ROWID;

-- Runs of the monotonic clock. offset_ms added to monotonic milliseconds gives wall time.
CREATE TABLE boot (
    boot_id   TEXT PRIMARY KEY,
    n         INTEGER NOT NULL,
    offset_ms INTEGER
) WITHOUT ROWID;

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
