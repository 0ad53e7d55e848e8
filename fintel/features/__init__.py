"""Features: entries, windows, profiles."""
