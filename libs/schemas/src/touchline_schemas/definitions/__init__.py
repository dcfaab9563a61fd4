"""What lifecycle and play definitions have in common: durations and the operators of conditions."""
