"""Whether the box is well, and saying so."""
