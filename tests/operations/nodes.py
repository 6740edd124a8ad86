"""Pages of nodes whose numbers grow from look to look, by a served page."""

from __future__ import annotations

from collections.abc import Callable

from tests.operations.served import Answer, Asked

__all__ = ["growing"]


def growing(
    active: float = 30, limit: float | None = 40, code: str = "1000"
) -> Callable[[Asked], Answer]:
    """Return what serves a node: each time it is asked, 10 more came and 10 more left."""
    asked = 0

    def answer(_: Asked) -> Answer:
        nonlocal asked
        asked += 1
        count = 10 * asked
        lines = [
            *("# TYPE ws_observe_info gauge", 'ws_observe_info{version="1"} 1'),
            "# TYPE ws_connections_active gauge",
            f'ws_connections_active{{route="/a"}} {active - 1}',
            'ws_connections_active{route="/b"} 1',
            *("# TYPE ws_connects_total counter", f'ws_connects_total{{route="/a"}} {count}'),
            "# TYPE ws_closes_total counter",
            f'ws_closes_total{{route="/a",code="{code}"}} {count}',
            'ws_closes_total{route="/a",code="1001"} 1',
            "# TYPE ws_messages_total counter",
            f'ws_messages_total{{route="/a",direction="in"}} {count}',
            f'ws_messages_total{{route="/a",direction="out"}} {2 * count}',
            "# TYPE ws_handler_duration_seconds histogram",
            'ws_handler_duration_seconds_bucket{le="1"} 0',
            f'ws_handler_duration_seconds_bucket{{le="5"}} {count}',
            f'ws_handler_duration_seconds_bucket{{le="+Inf"}} {count}',
            "# TYPE ws_send_buffer_max_bytes gauge",
            "ws_send_buffer_max_bytes 2097152",
            *("# TYPE ws_queue_depth gauge", 'ws_queue_depth{direction="in"} 60'),
            *("# TYPE event_loop_lag_max_seconds gauge", "event_loop_lag_max_seconds 0.01"),
        ]
        if limit is not None:
            lines += ["# TYPE ws_connections_limit gauge", f"ws_connections_limit {limit}"]
        return Answer("\n".join(lines) + "\n")

    return answer
