"""Optimizers and update rules as a few equations, compiled to torch, C and Triton, with their claims decided."""

__version__ = "0.1.0"
