"""``python -m nerfscene`` is the ``nerfscene`` command."""

from nerfscene.cli import main

if __name__ == "__main__":
    main()
