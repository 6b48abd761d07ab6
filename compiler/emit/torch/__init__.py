"""Optimizers as torch code: one Python function a specialisation, over lists of tensors."""
