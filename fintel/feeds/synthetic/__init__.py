"""Synthetic populations: daily life, benign look-alikes, and planted schemes with labels."""

from fintel.feeds.synthetic.generator import Summary, generate

__all__ = ["Summary", "generate"]
