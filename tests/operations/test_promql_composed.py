"""Queries composed at random: here and by a real Prometheus, the same answers."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgi_ws_observe.operations.promql import QueryError, Samples, evaluate
from tests.operations.answers import answer, assert_same
from tests.operations.fleet import END
from tests.operations.prometheus import Prometheus, Refused

LABELS = ("job", "instance", "route", "code", "missing")
names = st.sampled_from(
    ["ws_connections_active", "ws_closes_total", "ws_connects_total", "up", "one", "nothing"]
)
matchers = st.sampled_from(
    ["", '{route="/ws"}', '{instance=~"a.*|b.*"}', '{code!="1006"}', '{job!~"f.*"}', '{missing=""}']
)
durations = st.sampled_from(["20s", "1m", "7m", "1h", "3h"])
offsets = st.sampled_from(["", " offset 1m", " offset 30m", " offset -10s"])
selectors = st.builds("{}{}{}".format, names, matchers, offsets)
#: Comparisons are of whole numbers only: a sum may differ in its last bit.
compared = st.builds(
    "({} {} {})".format,
    selectors,
    st.sampled_from(["==", "!=", ">", "<=", "> bool", "== bool"]),
    st.integers(0, 50),
)
over_time = st.sampled_from(
    [
        *("rate", "increase", "irate", "delta", "deriv", "changes", "resets", "last_over_time"),
        *("min_over_time", "max_over_time", "avg_over_time", "sum_over_time", "count_over_time"),
    ]
)
windows = st.builds("{}({}{}[{}]{})".format, over_time, names, matchers, durations, offsets)
label_lists = st.lists(st.sampled_from(LABELS), max_size=3, unique=True).map(", ".join)


def composed(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return queries made of queries."""
    return st.one_of(
        st.builds(
            "{} {} ({}) ({})".format,
            st.sampled_from(["sum", "avg", "min", "max", "count", "group", "stddev"]),
            st.sampled_from(["by", "without"]),
            label_lists,
            inner,
        ),
        st.builds(
            "({} {} {} ({}) {} {})".format,
            inner,
            st.sampled_from(["+", "-", "*"]),
            st.sampled_from(["on", "ignoring"]),
            label_lists,
            st.sampled_from(["", "group_left ()", "group_right ()"]),
            inner,
        ),
        st.builds(
            "({} {} {} ({}) {})".format,
            inner,
            st.sampled_from(["and", "or", "unless"]),
            st.sampled_from(["on", "ignoring"]),
            label_lists,
            inner,
        ),
        st.builds("({} / {})".format, inner, st.integers(1, 9)),
        st.builds("abs({})".format, inner),
        st.builds("-({})".format, inner),
        st.builds(
            "max_over_time({}[10m:{}]{})".format, inner.map("({})".format), durations, offsets
        ),
    )


queries = st.recursive(st.one_of(selectors, compared, windows), composed, max_leaves=6)


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(query=queries, ago=st.sampled_from([0.0, 1000.0, 1234.567, 1800.0, 7190.0]))
def test_composed_query_has_the_answer_of_prometheus(
    database: Prometheus, samples: Samples, query: str, ago: float
) -> None:
    """Whatever is put into whatever, labels, values and refusals are the same."""
    try:
        expected = database.query(query, END - ago)
    except Refused:
        with pytest.raises(QueryError):
            evaluate(query, samples, END - ago)
    else:
        assert_same(answer(expected), answer(evaluate(query, samples, END - ago)), 1e-6)
