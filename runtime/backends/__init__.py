"""Where a step runs: the choice of a backend, the C library, the Triton kernels."""
