"""Train an adapter on prepared examples."""
