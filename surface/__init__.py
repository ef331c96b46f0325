"""The other end: the reference consumer that deduplicates, commits and receipts; the whole-mine muster."""
