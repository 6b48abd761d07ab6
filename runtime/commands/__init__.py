"""The commands of `dotopt`, one a file: `HELP`, `arguments(parser)` and `run(args)`, which returns the exit code."""

PROVED, FAILED, OPEN, USAGE = 0, 1, 3, 2
