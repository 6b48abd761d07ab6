"""A claim in its file becomes premises and goals on IR nodes."""
