"""The language as text: the grammar and its tables, layout, spelling, highlighting, and how files are called and found.

Nothing is imported here, so that what needs a path or a spelling does not load the parser.
"""
