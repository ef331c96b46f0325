-- The register of people, version 1 (PRAGMA user_version counts).
-- One row: which register this is, and how often it has changed.
CREATE TABLE gallery (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    id      TEXT    NOT NULL,
    version INTEGER NOT NULL
);
-- `ref` is the operator's (a card number) and goes on the wire; `name` never leaves the box.
CREATE TABLE person (
    ref      TEXT PRIMARY KEY,
    name     TEXT NOT NULL,
    added_ms INTEGER
);
-- `crop` is the aligned face, written by `crop_codec`; both are NULL where crops are not kept.
CREATE TABLE photo (
    id            INTEGER PRIMARY KEY,
    ref           TEXT NOT NULL REFERENCES person (ref) ON DELETE CASCADE,
    source_name   TEXT NOT NULL,
    source_sha256 TEXT NOT NULL UNIQUE,
    quality       TEXT NOT NULL,
    aligned_by    TEXT NOT NULL,
    crop_codec    TEXT,
    crop          BLOB,
    added_ms      INTEGER
);
CREATE INDEX photo_of_person ON photo (ref, id);
-- One vector a photo and model: float32, little-endian, with the CRC-32 of its bytes.
CREATE TABLE embedding (
    photo             INTEGER NOT NULL REFERENCES photo (id) ON DELETE CASCADE,
    model_sha256      TEXT NOT NULL,
    preprocess_sha256 TEXT NOT NULL,
    vector            BLOB NOT NULL,
    crc32             INTEGER NOT NULL,
    PRIMARY KEY (photo, model_sha256, preprocess_sha256)
);
-- What was done when, without names: also the proof that somebody was removed.
CREATE TABLE change (
    version INTEGER PRIMARY KEY,
    what    TEXT NOT NULL,
    ref     TEXT,
    wall_ms INTEGER
);
