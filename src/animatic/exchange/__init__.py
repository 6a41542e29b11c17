"""Scenes for other tools, and boxes from them."""
