"""The learned scorer."""
