"""The toy world off the grid: objects at any pixel, 16 frames at 8 a second. The next `mini` is trained on it.

It stands beside `animatic.toy.grid_world`, today's world on a grid of cells, until the weights of the next `mini`
replace those of today's.
"""
