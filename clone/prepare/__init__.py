"""Turn messages into examples."""
