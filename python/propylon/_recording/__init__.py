"""Recordings: events in files, written by the engine, read again and played back."""
