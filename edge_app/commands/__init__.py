"""Signed commands to a running box: who may give them, once, and before they expire."""
