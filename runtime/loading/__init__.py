"""From a `.opt` file to a class: compiled, kept on disk, found by name."""
