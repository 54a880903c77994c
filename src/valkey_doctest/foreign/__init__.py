"""Markdown that was not written for us: its transcripts are verified, and everything in it is accounted for."""
