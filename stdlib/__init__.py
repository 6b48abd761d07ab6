"""The optimizers and update rules that dotopt ships, as `.opt` files by family."""
