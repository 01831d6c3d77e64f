"""``python -m propylon``: the command line."""

from propylon.cli import main

if __name__ == "__main__":
    main()
