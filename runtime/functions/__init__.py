"""Rules of every kind as pure functions, and the thin classes around them that a field expects."""
