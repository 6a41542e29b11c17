"""The sampling loop, its types, and the base classes of what it combines: `Control` and `Backbone`."""
