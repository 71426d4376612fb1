"""Train an adapter on examples."""
