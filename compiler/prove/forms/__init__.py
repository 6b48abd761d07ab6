"""Normal forms N1 to N4, the facts that premises give them, and what of them goes into certificates."""
