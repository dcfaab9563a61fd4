"""Console tokens: how the console tells the services which person asks."""
