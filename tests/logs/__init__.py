"""Log lines: as JSON, counted where they come in bursts, and silent where nobody has asked for them."""
