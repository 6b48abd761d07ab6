"""From the text of a `.opt` file to a typed, checked intermediate form, and from there to code, claims and text."""
