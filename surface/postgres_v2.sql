-- Version 2 of the surface's store in PostgreSQL (there was no version 1); the same tables as in SQLite.

CREATE TABLE surface_schema (version INTEGER NOT NULL);
INSERT INTO surface_schema VALUES (2);

-- Every event once, by its id; body are the bytes that the box sent: convert_from(body, 'UTF8')::json.
-- `arrival` counts in the order of inserting; with several consumers that is not the box's order, `seq` is.
-- `id_ms` is the time inside the id and adds nothing to it: TimescaleDB wants a time in every unique key.
CREATE TABLE event (
    arrival     BIGINT GENERATED ALWAYS AS IDENTITY,
    id          TEXT     NOT NULL,
    id_ms       BIGINT   NOT NULL,
    site        TEXT     NOT NULL,
    node        TEXT     NOT NULL,
    seq         BIGINT   NOT NULL,
    priority    SMALLINT NOT NULL,
    kind        TEXT     NOT NULL,
    boot        TEXT     NOT NULL,
    mono_ns     BIGINT   NOT NULL,
    wall_ms     BIGINT,
    zone        TEXT,
    camera      TEXT,
    person_ref  TEXT,
    test        BOOLEAN  NOT NULL,
    arrived_ms  BIGINT   NOT NULL,
    body        BYTEA    NOT NULL,
    PRIMARY KEY (id, id_ms)
);
CREATE INDEX event_node ON event (site, node, seq);
CREATE INDEX event_person ON event (person_ref, arrived_ms) WHERE person_ref IS NOT NULL;

CREATE TABLE node (
    site           TEXT NOT NULL,
    node           TEXT NOT NULL,
    state          TEXT,
    state_ms       BIGINT,
    muster         TEXT,
    muster_ms      BIGINT,
    muster_boot    TEXT,
    muster_mono_ns BIGINT,
    PRIMARY KEY (site, node)
);

CREATE TABLE boot (
    site      TEXT   NOT NULL,
    node      TEXT   NOT NULL,
    boot      TEXT   NOT NULL,
    offset_ms BIGINT NOT NULL,
    seq       BIGINT NOT NULL,
    PRIMARY KEY (site, node, boot)
);

CREATE TABLE gap (
    id       TEXT PRIMARY KEY,
    site     TEXT   NOT NULL,
    node     TEXT   NOT NULL,
    from_seq BIGINT NOT NULL,
    to_seq   BIGINT NOT NULL,
    lost     BIGINT,
    reason   TEXT   NOT NULL
);

CREATE TABLE departure (
    person_ref TEXT   NOT NULL,
    site       TEXT   NOT NULL,
    node       TEXT   NOT NULL,
    seq        BIGINT NOT NULL,
    boot       TEXT   NOT NULL,
    mono_ns    BIGINT NOT NULL,
    wall_ms    BIGINT,
    PRIMARY KEY (person_ref, site, node)
);

CREATE TABLE roster (
    person_ref TEXT PRIMARY KEY,
    name       TEXT NOT NULL
);
