"""The console of Touchline: pages for people, over the HTTP APIs of the three services."""
