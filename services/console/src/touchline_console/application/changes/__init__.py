"""What people change through the console, and the record of it."""
