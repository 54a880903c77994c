"""Doctest for ``valkey-cli`` transcripts, and for the other fences a Markdown page shows."""
