"""What people read: explanations, pages, charts, the console."""
