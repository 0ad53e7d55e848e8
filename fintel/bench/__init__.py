"""The FIU analyst's bench: what rules would do, what they miss, and what changed between two versions."""
