"""C for the passes of a schedule."""
