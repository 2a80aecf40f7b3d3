"""What layers of several kinds are made of: sublayers, heads, norms, caches, and counts of their memory."""
