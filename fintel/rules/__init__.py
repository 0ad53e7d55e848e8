"""Rules: published indicators made executable."""
