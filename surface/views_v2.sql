-- Version 2's views, in SQLite and PostgreSQL alike; made after the tables.

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
