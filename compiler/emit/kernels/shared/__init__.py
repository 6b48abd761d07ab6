"""What both kernel languages need of a schedule: facts of its values, and scopes."""
