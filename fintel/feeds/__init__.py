"""Readers: what comes in, and what becomes of each row."""
