"""The toy world, which renders any `Scene` of its nouns exactly, and the training of `mini-2` on it."""
