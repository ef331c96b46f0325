"""The fault harness: break everything at random, then count."""
