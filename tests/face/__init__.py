"""The Python face: options, life, commands, counters."""
