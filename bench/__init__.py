"""The benchmarks. Each compares with a floor in the same run, because machines differ and are noisy: quote ratios."""
