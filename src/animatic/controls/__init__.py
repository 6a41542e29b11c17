"""Controls: one idea from one paper each. Their four verbs are documented at `animatic.core.control.Control`."""
