-- Version 2: names of people, departures, offsets by box, and musters that know how old they are.

-- Offsets that date the events of a boot, by box; `seq` is the number of the event that gave it.
DROP VIEW dated;
ALTER TABLE boot RENAME TO boot_v1;
CREATE TABLE boot (
    site      TEXT    NOT NULL,
    node      TEXT    NOT NULL,
    boot      TEXT    NOT NULL,
    offset_ms INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    PRIMARY KEY (site, node, boot)
) WITHOUT ROWID;
INSERT INTO boot
    SELECT site, node, boot, offset_ms, max(seq) FROM event JOIN boot_v1 USING (boot)
    WHERE kind = 'time_fix' GROUP BY site, node, boot, offset_ms;
DROP TABLE boot_v1;

-- Which muster of the box this is: the newest counts, and the same one again does not look fresher.
ALTER TABLE node ADD COLUMN muster_boot TEXT;
ALTER TABLE node ADD COLUMN muster_mono_ns INTEGER;

-- The last time that somebody left all zones of a box.
CREATE TABLE departure (
    person_ref TEXT    NOT NULL,
    site       TEXT    NOT NULL,
    node       TEXT    NOT NULL,
    seq        INTEGER NOT NULL,
    boot       TEXT    NOT NULL,
    mono_ns    INTEGER NOT NULL,
    wall_ms    INTEGER,
    PRIMARY KEY (person_ref, site, node)
) WITHOUT ROWID;

-- Whose reference it is: imported by hand, never sent by a box.
CREATE TABLE roster (
    person_ref TEXT PRIMARY KEY,
    name       TEXT NOT NULL
) WITHOUT ROWID;

-- An event with its time: as the box knew it, or as the newest fix of its boot dates it.
CREATE VIEW dated AS
    SELECT event.*, coalesce(wall_ms, mono_ns / 1000000 + boot.offset_ms) AS at_ms
    FROM event LEFT JOIN boot USING (site, node, boot);

-- Events that came after a later one of their box and priority.
CREATE VIEW late AS
    SELECT * FROM (
        SELECT event.*, max(seq) OVER (
            PARTITION BY site, node, priority ORDER BY arrival ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS after_seq FROM event
    ) AS numbered WHERE seq < after_seq;
