"""Rules of every kind as pure functions in torch: `init`, the step, and the table of what the step asks its user."""
