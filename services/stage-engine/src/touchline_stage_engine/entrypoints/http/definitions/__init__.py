"""Routes that check, publish and simulate lifecycle definitions."""
