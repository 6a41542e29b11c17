"""Planning: prompt -> Scene."""
