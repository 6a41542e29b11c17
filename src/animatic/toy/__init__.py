"""The toy world off the grid, with objects at any pixel and 16 frames at 8 a second, and the training of `mini` on it.

`animatic.toy.grid_world` is the world on a grid of cells that the present `mini` is trained on; it stays until the
weights of the next `mini` replace those of the present one.
"""
