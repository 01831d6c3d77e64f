"""Recording and replay: what is in the file, and what comes out of it."""
