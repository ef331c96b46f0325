-- Version 3, in SQLite and PostgreSQL alike: from which number on events of a box are expected here.

-- What came before went to somebody else: an operator said so, at `set_ms` (milliseconds since 1970).
CREATE TABLE baseline (
    site     TEXT   NOT NULL,
    node     TEXT   NOT NULL,
    from_seq BIGINT NOT NULL,
    set_ms   BIGINT NOT NULL,
    PRIMARY KEY (site, node)
);
