"""Counterexamples: sizes, numbers and functions in which the premises hold and a sentence fails, in exact numbers."""
