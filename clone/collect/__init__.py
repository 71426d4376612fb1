"""Bring messages from where they are into the archive."""
