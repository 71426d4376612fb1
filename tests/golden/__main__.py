"""Rewrite the golden files."""

from tests.golden import rewrite

rewrite()
