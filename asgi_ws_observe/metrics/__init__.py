"""Metrics: the catalogue, the collector over the store, and ``/metrics``."""
