"""The operations of the language, and the types of their values."""
