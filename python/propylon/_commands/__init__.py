"""What a gateway sends for its user, and who waits for the answer."""
