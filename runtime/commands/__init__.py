"""The commands of `dotopt`, one a file: `arguments(parser)` and `run(args)`, which returns the exit code."""

PROVED, FAILED, USAGE, OPEN = 0, 1, 2, 3


class Refused(Exception):
    """What the user asked for cannot be; the message is all that he needs. Exit code 2."""
