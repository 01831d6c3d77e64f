"""Sessions that outlive their process: what is saved, when, and what is made of it."""
