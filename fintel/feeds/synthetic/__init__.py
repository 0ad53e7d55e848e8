"""Synthetic populations with labelled schemes and benign look-alikes."""
