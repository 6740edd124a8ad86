"""Faults made for real, and what the shipped alerts, their routing and ``diagnose`` say of them."""
