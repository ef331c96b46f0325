-- Version 1 of the surface's store. The number of the version is PRAGMA user_version.

-- Every event once, by its id, in the order of committing; body are the bytes that the box sent.
CREATE TABLE event (
    arrival     INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    site        TEXT    NOT NULL,
    node        TEXT    NOT NULL,
    seq         INTEGER NOT NULL,
    priority    INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    boot        TEXT    NOT NULL,
    mono_ns     INTEGER NOT NULL,
    wall_ms     INTEGER,
    zone        TEXT,
    camera      TEXT,
    person_ref  TEXT,
    test        INTEGER NOT NULL,
    arrived_ms  INTEGER NOT NULL,
    body        BLOB    NOT NULL
);
CREATE INDEX event_node ON event (site, node, seq);
CREATE INDEX event_person ON event (person_ref, arrived_ms) WHERE person_ref IS NOT NULL;

-- What each box says about itself: the newest retained state and muster, with the time they arrived.
CREATE TABLE node (
    site       TEXT NOT NULL,
    node       TEXT NOT NULL,
    state      TEXT,
    state_ms   INTEGER,
    muster     TEXT,
    muster_ms  INTEGER,
    PRIMARY KEY (site, node)
) WITHOUT ROWID;

-- Offsets that date the events of a boot, also those recorded before anybody knew the time.
CREATE TABLE boot (
    boot      TEXT PRIMARY KEY,
    offset_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- Losses that boxes reported.
CREATE TABLE gap (
    id       TEXT PRIMARY KEY,
    site     TEXT    NOT NULL,
    node     TEXT    NOT NULL,
    from_seq INTEGER NOT NULL,
    to_seq   INTEGER NOT NULL,
    lost     INTEGER,
    reason   TEXT    NOT NULL
) WITHOUT ROWID;

-- An event with its time: as the box knew it, or as the fix of its boot dates it.
CREATE VIEW dated AS
    SELECT event.*, coalesce(wall_ms, mono_ns / 1000000 + boot.offset_ms) AS at_ms
    FROM event LEFT JOIN boot USING (boot);
