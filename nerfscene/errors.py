"""The one exception whose message is written for users."""

from __future__ import annotations


class NerfsceneError(Exception):
    """Bad input or an impossible request.

    The message is one sentence: what is wrong, in which file, and what to do about it. The command line
    prints it without a traceback and exits with code 2.
    """
