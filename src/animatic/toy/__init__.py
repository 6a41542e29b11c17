"""The toy world, which renders any `Scene` of its nouns exactly, and the training of `mini` on it."""
