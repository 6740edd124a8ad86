"""The Grafana dashboard as one table of panels, and what is made of it.

``python -m docs.dashboard`` writes the JSON; ``python -m docs.dashboard picture URL`` draws it from
a Prometheus, ``python -m docs.dashboard scene`` runs nodes of which one gets a fault, and draws
that.
"""
