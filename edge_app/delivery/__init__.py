"""The outbox and the way to the mine's SCADA."""
