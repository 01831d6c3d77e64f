"""Who listens: listeners and what their annotations mean, groups, waits, streams. Knows no event loop's delivery."""
