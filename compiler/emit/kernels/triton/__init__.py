"""Triton for the passes of a schedule."""
