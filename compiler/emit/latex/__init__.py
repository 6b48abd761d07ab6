"""Equations as a paper would print them."""
