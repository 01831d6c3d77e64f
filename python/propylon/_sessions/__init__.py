"""Sessions as values, and how they outlive a process."""
