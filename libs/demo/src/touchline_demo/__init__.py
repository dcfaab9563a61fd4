"""A simulated company on the real stack: it posts months of touchpoints and checks that the totals agree."""
