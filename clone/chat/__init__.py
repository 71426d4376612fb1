"""Talk to the twin."""
