"""``python -m gat`` is ``gat``."""

from gat.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
