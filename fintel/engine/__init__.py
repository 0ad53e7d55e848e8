"""Windows over entries: order once, then sweep."""
