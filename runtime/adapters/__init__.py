"""Compiled rules in the interfaces of other libraries: each file imports its library; nothing imports these files."""
