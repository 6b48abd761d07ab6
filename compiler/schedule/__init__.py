"""The cut of a step into passes over memory: where values live, what is summed, and how states are stored."""
