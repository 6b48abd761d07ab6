"""`.opt` text as text: its house style, and its two spellings."""
