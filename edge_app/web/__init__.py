"""A page on the box itself that shows what it sees; off unless `web.port` is set."""
