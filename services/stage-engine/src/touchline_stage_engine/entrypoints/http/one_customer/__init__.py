"""Routes that change or export one customer."""
