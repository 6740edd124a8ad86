"""What a fault is made with: nodes, crowds of clients, relays, Prometheus, Alertmanager."""
