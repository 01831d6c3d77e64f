"""From what the engine drains to the calls of listeners, in order and held back where they do not keep up."""
