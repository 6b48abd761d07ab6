"""Compiled rules in the interfaces of other libraries: each file imports its library, and nothing imports these files."""
