"""Kernels from a schedule: what both languages share, C for the CPU, and Triton."""
