"""The nouns of fintel: tables, detections, cases. Standard library only."""
