"""Sources: who posts touchpoints to us, and how each one's requests are proven genuine and read."""
