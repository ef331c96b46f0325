"""From a picture to faces that can be recognised."""
