"""What the bundled models can do, measured in the toy world."""
