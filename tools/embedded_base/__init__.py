"""Makes the embedded base: see `__main__`."""
