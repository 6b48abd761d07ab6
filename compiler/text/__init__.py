"""The text of a file: source and places in it, the tree as written, every message, and how a diagnostic is shown."""
