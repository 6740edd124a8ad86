"""The same queries over the same samples, here and by a real Prometheus: the same answers."""

from __future__ import annotations

import pytest

from asgi_ws_observe.operations.promql import QueryError, Samples, evaluate
from tests.operations.answers import answer, assert_same
from tests.operations.fleet import BEGIN, END
from tests.operations.prometheus import Prometheus, Refused

SELECTORS = """
ws_connections_active
ws_connections_active{route="/ws"}
ws_connections_active{route!="/ws"}
{__name__=~"ws_connect.*", instance=~"a|b.*"}
{__name__="up"}
ws_closes_total{code=~"10(06|11)", closed_by!~"ser.*"}
ws_closes_total{route=~"/rooms/.*", missing=""}
ws_closes_total{missing!=""}
ws_closes_total{code=~"100"}
nothing
edge
edge offset 1m
edge offset -1m
edge offset 5m
ws_connections_active offset 1h30m
1
NaN
-Inf
time()
-time() + 1
"""
RANGES = """
rate(ws_connects_total[5m])
rate(ws_connects_total[1m])
rate(ws_connects_total[10s])
rate(ws_closes_total[2h])
increase(ws_closes_total[30m])
increase(ws_closes_total[3h])
irate(ws_closes_total[5m])
rate(ws_connects_total[5m] offset 20m)
delta(ws_connections_active[10m])
idelta(ws_connections_active[10m])
deriv(ws_connections_active[10m])
deriv(odd[1m])
deriv(steady[1m])
predict_linear(steady[1m], 60)
predict_linear(ws_connections_active[1h], 4 * 3600)
predict_linear(ws_connections_active[20m] offset 10m, 60)
changes(ws_connections_active[20m])
changes(odd[1m])
resets(ws_closes_total[2h])
min_over_time(ws_connections_active[10m])
max_over_time(ws_connections_active[10m])
avg_over_time(ws_connections_active[10m])
sum_over_time(ws_connections_active[10m])
count_over_time(up[30m])
count_over_time(edge[5m])
count_over_time(edge[1m])
rate(edge[5m])
irate(edge[5m])
idelta(edge[1m])
deriv(edge[1m])
rate(edge[11m])
last_over_time(edge[5m])
last_over_time(ws_closes_total[2h])
present_over_time(edge[5m])
quantile_over_time(0.9, ws_connections_active[1h])
quantile_over_time(scalar(vector(0.3)), ws_connections_active[1h])
quantile_over_time(2, ws_connections_active[1h])
stddev_over_time(ws_connections_active[1h])
stdvar_over_time(ws_connections_active[1h])
min_over_time(odd[1m])
max_over_time(odd[1m])
sum_over_time(odd[1m])
avg_over_time(odd[1m])
stddev_over_time(odd{n!="6"}[1m])
quantile_over_time(0.5, odd[1m])
increase(odd[1m])
max_over_time(ws_connections_active[1h:1m])
max_over_time(sum by (job) (ws_connections_active)[1h:])
avg_over_time(rate(ws_connects_total[5m])[30m:1m])
avg_over_time(sum by (job) (rate(ws_connects_total[5m]))[1h:5m] offset 10m)
rate(ws_connects_total[30m:45s])
deriv(sum by (instance) (ws_connections_active)[20m:30s])
min_over_time((ws_connections_active > 50)[10m:7s])
last_over_time(up[5m:1m])
max_over_time(max_over_time(up[5m])[10m:1m])
sum_over_time(vector(1)[10m:1m])
rate({__name__=~"one|two"}[5m])
rate({__name__=~"one|two", half="0"}[5m])
last_over_time({__name__=~"one|two"}[5m])
avg_over_time((ws_connections_active)[5m:30s])
"""
AGGREGATES = """
sum(ws_connections_active)
sum by (job, instance) (ws_connections_active)
sum without (route) (ws_connections_active)
sum by (missing, job) (ws_connections_active)
sum by () (up)
avg by (job) (ws_connections_active)
min by (route) (ws_connections_active)
max by (route) (ws_connections_active)
count by (instance) (ws_closes_total)
count by (__name__) ({job="fleet"})
group by (job) (up)
stddev by (job) (ws_connections_active)
stdvar without (instance) (ws_connections_active)
quantile by (job) (0.9, ws_connections_active)
quantile(1.1, ws_connections_active)
quantile(-1, ws_connections_active)
quantile(NaN, ws_connections_active)
topk(3, ws_closes_total)
bottomk(2, ws_closes_total)
topk by (instance) (1, rate(ws_closes_total[30m]))
topk(0, up)
topk(-1, up)
topk(NaN, up)
topk(scalar(count(up)), ws_closes_total)
sum(odd)
avg(odd)
min(odd)
max(odd)
min(odd{n="3"})
stddev(odd)
quantile(0.5, odd)
sum(odd{n=~"[0-2]"})
avg(odd{n=~"4|0"})
histogram_quantile(0.99, sum by (le) (rate(ws_handler_duration_seconds_bucket[5m])))
histogram_quantile(0.5, sum by (job, instance, le) (rate(ws_handler_duration_seconds_bucket[30m])))
histogram_quantile(0.95, ws_handler_duration_seconds_bucket)
histogram_quantile(0.5, h_bucket)
histogram_quantile(0.99, h_bucket)
histogram_quantile(0, h_bucket)
histogram_quantile(1, h_bucket)
histogram_quantile(1.5, h_bucket)
histogram_quantile(-1, h_bucket)
histogram_quantile(NaN, h_bucket)
"""
OPERATORS = """
1 + 2 * 3 ^ 2 ^ 0.5 % 4 - -1 / 3
1 / 0 + -1 / 0
5 % 0
2 > bool 1
1 == bool 2
0 ^ -1
ws_connections_active * 2
2 - ws_connections_active
ws_connections_active > 40
40 < ws_connections_active
ws_connections_active > bool 40
ws_connections_active != bool 40
ws_connections_active == ws_connections_active
ws_connections_active >= 3 <= 80
-ws_connections_active
-{__name__=~"one|two"}
odd / 0
odd % 2
odd ^ 2
odd ^ 0.5
odd ^ -1
odd ^ 1e308
1 % odd
1 / odd
0 ^ odd
-2 ^ odd
(-2) ^ odd
odd == odd
odd != odd
odd > 0
odd >= bool 0
ws_connections_active + ws_connections_active
sum by (job, instance) (ws_connections_active) / on (job, instance) ws_connections_limit
ws_connections_active / on (job, instance) group_left ws_connections_limit
ws_connections_limit < on (job, instance) group_right ws_connections_active
ws_connections_limit * on (job, instance) group_right () ws_connections_active
ws_connections_active * on (job, instance) group_left (version, zone) node_info
ws_connections_active > on (instance) group_left (version) node_info
ws_connections_active > bool on (instance) group_left (version) node_info
node_info * on (instance) group_right (version) ws_connections_active
ws_connections_active / ignoring (route) group_left sum by (job, instance) (ws_connections_active)
ws_connections_active > ignoring (route) group_left avg without (route) (ws_connections_active)
up == on (instance) ws_connections_limit > bool on (instance) up
up <= on (instance) ws_connections_limit
up < ignoring (version) ws_connections_limit
ws_connections_active / on (instance) ws_connections_limit
ws_connections_limit / on (instance) ws_connections_active
ws_connections_active / on (job) group_left up
ws_closes_total / on (instance, route) group_left (code) ws_connections_active
ws_closes_total * on (instance, route) group_left (instance) ws_connections_active
sum without (code, closed_by) (ws_closes_total) - ignoring (code) group_right ws_closes_total
nothing + nothing
up + nothing
up and ws_connections_limit
up and on (instance) node_info
up unless on (instance) node_info
up unless ignoring (job) node_info
up or ws_connections_limit
node_info or on (instance) up
up or on () vector(0)
nothing or on () vector(0)
sum(nothing) or vector(0)
up == 0 or ws_connections_active > 80 and on (instance) up == 1 unless nothing
rate(ws_closes_total{code="1006"}[5m]) > 0.1 * 2 and on (job) count by (job) (up) > 1
avg by (instance) (ws_connections_active) > on () group_left avg(ws_connections_active) * 1.1
sum(rate(ws_connects_total[5m])) > 0.5 * avg_over_time(sum(rate(ws_connects_total[5m]))[1h:1m])
{__name__=~"one|two"} * 2
{__name__=~"one|two"} > bool 2
{__name__=~"one|two"} > 2
one + ignoring (half) two
"""
FUNCTIONS = """
abs(odd)
ceil(odd)
floor(odd)
exp(odd)
ln(odd)
log2(odd)
log10(odd)
sqrt(odd)
sgn(odd)
round(odd)
round(odd, 0.1)
round(ws_connections_active, 7)
clamp(ws_connections_active, 10, 50)
clamp(ws_connections_active, 50, 10)
clamp(odd, -1, 5)
clamp_min(odd, 0)
clamp_max(odd, 1)
clamp_min(odd, NaN)
clamp_max(odd, NaN)
abs({__name__=~"one|two"})
scalar(ws_connections_limit{instance="a:8000"})
scalar(up)
scalar(nothing)
vector(time())
ws_connections_active - scalar(ws_connections_limit{instance="a:8000"})
time() - process_start_time_seconds
absent(up)
absent(nothing)
absent(nothing{job="x", a=~"b", c!="d"})
absent(nothing{job="x", job="y", b="1"})
absent(nothing{__name__="nothing"})
absent({__name__="nothing", a="", b="c"})
absent(sum(nothing{job="x"}))
absent((nothing{job="x"}))
sort(ws_connections_active)
sort_desc(ws_connections_active)
sort(odd)
sort_desc(odd)
label_replace(up, "host", "$1", "instance", "(.*):.*")
label_replace(up, "host", "${1}-$2-$$x", "instance", "(.*):(.*)")
label_replace(up, "host", "$name-$nope-$9", "instance", "(?P<name>.*):.*")
label_replace(up, "host", "x", "instance", "b")
label_replace(up, "job", "", "instance", "b.*")
label_replace(up, "host", "x", "missing", "")
label_replace(up, "instance", "same", "instance", ".*")
"""
QUERIES = [
    each
    for lines in (SELECTORS, RANGES, AGGREGATES, OPERATORS, FUNCTIONS)
    for each in lines.strip().splitlines()
]
#: The end; in between, before a gap ends, just after the start, and before it.
TIMES = (END, END - 1234.567, END - 1900, END - 3900, BEGIN + 20, BEGIN - 1)


@pytest.mark.parametrize("query", QUERIES)
def test_answer_is_that_of_prometheus(database: Prometheus, samples: Samples, query: str) -> None:
    """Labels and values are the same at each of several times, and so is a refusal."""
    for at in TIMES:
        try:
            expected = database.query(query, at)
        except Refused:
            with pytest.raises(QueryError):
                evaluate(query, samples, at)
        else:
            assert_same(answer(expected), answer(evaluate(query, samples, at)))


@pytest.mark.parametrize("query", ["sort(up)", "sort_desc(ws_closes_total)", "topk(3, odd)"])
def test_order_is_that_of_prometheus(database: Prometheus, samples: Samples, query: str) -> None:
    """Who sorts wants the first line to be the first; equal values have no order."""
    expected = [value for _, value in database.query(query, END)]
    assert str(expected) == str([each.value for each in evaluate(query, samples, END)])
