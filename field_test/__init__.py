"""A simulated tunnel with ground truth, the demo on it, and the scoring of a whole run."""
