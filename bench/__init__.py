"""The benchmarks behind every speed that the docs quote."""
