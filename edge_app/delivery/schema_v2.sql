-- Version 2: the counters of commands have a file of their own, which a damaged outbox does not take along.
DROP TABLE IF EXISTS command_seen;
