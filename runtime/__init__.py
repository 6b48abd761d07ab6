"""What the emitted code stands on: optimizers, transforms, modules, loading, caching and the command line."""
