"""The exception and the warning whose messages are written for users."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

_PACKAGE = str(Path(__file__).parent) + os.sep


class NerfsceneError(Exception):
    """Bad input or an impossible request.

    The message is one sentence: what is wrong, in which file, and what to do about it. The command line
    prints it without a traceback and exits with code 2.
    """


class NerfsceneWarning(UserWarning):
    """Something about the input that a user should know, such as photos that are not used.

    Functions that take ``warn`` call that with the message instead, if it is given.
    """


def warn_caller(message: str) -> None:
    """Issues a NerfsceneWarning at the line outside the package that led here."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, NerfsceneWarning, stacklevel=level)
