"""Published plays, and customers to try a play with, in PostgreSQL."""
