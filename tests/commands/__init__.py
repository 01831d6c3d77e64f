"""Commands with an answer, and the limits on what leaves."""
