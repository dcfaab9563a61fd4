"""A simulated company on the real stack: months of touchpoints through the real doors, and sums that must add up."""
