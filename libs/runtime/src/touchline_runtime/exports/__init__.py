"""What a service exports as a file: CSV, a JSON object written piece by piece, and pages to keep."""
