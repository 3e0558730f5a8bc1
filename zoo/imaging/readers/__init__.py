"""Readers of recordings: every format comes down to numbered pages, read on demand."""
