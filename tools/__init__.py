"""What the makers of the project run; no part of the package."""
