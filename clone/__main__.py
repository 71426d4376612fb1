"""`python -m clone` is `clone`."""

from clone.cli import main

if __name__ == "__main__":
    main()
