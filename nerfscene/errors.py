"""The one exception a user is meant to read."""

from __future__ import annotations


class NerfsceneError(Exception):
    """Bad input or an impossible request, told in one sentence: what, which file, what to do.

    The command line prints the message without a traceback and exits with code 2.
    """
