"""From the intermediate form, or from the text itself, to text that others read: code, LaTeX, formatted source."""
