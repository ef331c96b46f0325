"""From an aligned face to a vector."""
