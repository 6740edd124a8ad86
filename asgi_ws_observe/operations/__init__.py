"""What can go wrong, as one table, and what is made of it: alerts, runbook, dashboard, diagnosis.

`signals.SIGNALS` is that table. The command line ``asgi-ws-observe`` is built on it; it needs the
extra ``cli``.
"""
