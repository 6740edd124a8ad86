"""Benchmarks: what observing costs, side by side in one run. Not timed tests."""
