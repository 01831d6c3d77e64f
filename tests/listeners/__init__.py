"""Listeners: what they say they want, what they get, in which order."""
