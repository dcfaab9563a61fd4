"""Routes that check, publish and switch plays."""
