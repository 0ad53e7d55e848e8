"""Draft reports that a human decides on."""
