"""What `dsr-edge doctor` looks at, one module a subject; the table is `edge_app.health.checks.table`."""
