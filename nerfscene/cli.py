"""The command line's entry: loads ``commands`` and runs one; errors become one sentence and an exit code."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from nerfscene import __version__, _leave
from nerfscene.errors import NerfsceneError, NerfsceneWarning
from nerfscene.loading import INTERRUPTED, begun, killed_as_interrupted, leaving_at_once

BAD_INPUT = 2


def _shown(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    """Prints a warning of the program's own as other lines begin, without the line of code it came from."""
    own = issubclass(category, NerfsceneWarning)
    plain = warnings.formatwarning(message, category, filename, lineno, line)
    print(f"warning: {message}\n" if own else plain, end="", file=file or sys.stderr)


def main(args: Sequence[str] | None = None) -> None:
    """Runs a command; ``args`` instead of sys.argv.

    The exit code is 0, 2 for bad input (one sentence, no traceback) or 130 for Ctrl-C and `kill`.
    """
    try:
        begun(_leave)
        with killed_as_interrupted(), warnings.catch_warnings():
            warnings.showwarning = _shown
            with leaving_at_once():
                if (sys.argv[1:] if args is None else list(args)) == ["--version"]:
                    print(f"nerfscene {__version__}")
                    return
                from nerfscene import commands

                run = commands.chosen(args)
            run()
    except NerfsceneError as error:
        from nerfscene import commands

        print(f"nerfscene: {commands.as_options(str(error))}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("nerfscene: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
