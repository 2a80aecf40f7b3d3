"""Parts that several kinds of layers share: sublayers, heads, norms, caches, and counts of their memory."""
