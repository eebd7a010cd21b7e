"""Built-in prototype networks."""
