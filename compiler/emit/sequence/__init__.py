"""Rules over sequences, layers and lists as Python modules of torch code."""
