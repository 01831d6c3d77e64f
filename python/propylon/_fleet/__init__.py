"""A fleet of shards in one process: which there are, how they live, and how their number changes."""
