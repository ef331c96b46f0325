"""From a trained or fetched network to the files that a box runs."""
