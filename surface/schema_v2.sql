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
