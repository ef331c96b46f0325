-- Version 3, in SQLite and PostgreSQL alike: from which number on events are expected here, and the last word of a box.

-- What came before went to somebody else: an operator said so, at `set_ms` (milliseconds since 1970).
CREATE TABLE baseline (
    site     TEXT   NOT NULL,
    node     TEXT   NOT NULL,
    from_seq BIGINT NOT NULL,
    set_ms   BIGINT NOT NULL,
    PRIMARY KEY (site, node)
);

-- When an event last came from the box itself (milliseconds since 1970): one that was carried here is no word of it.
ALTER TABLE node ADD COLUMN event_ms BIGINT;

-- Commissioning tests change nothing: what they changed before is taken back.
DELETE FROM gap WHERE id IN (SELECT id FROM event WHERE test);
DELETE FROM departure WHERE (site, node, seq) IN (SELECT site, node, seq FROM event WHERE test);
DELETE FROM boot WHERE (site, node, seq) IN (SELECT site, node, seq FROM event WHERE test);
