"""The reading of wrk, and how its runs are compared."""

from __future__ import annotations

from tests.bench.service.measure import compared
from tests.bench.service.wrk import Load, read

SAID = """Running 2s test @ http://172.31.0.2:8000
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   515.66ms  421.25ms   1.47s    64.71%
    Req/Sec    25.67     34.30   100.00     83.33%
  Latency Distribution
     50%  408.86ms
     90%    1.30s 
     99%    1.47s 
  50 requests in 2.05s, 9.87KB read
"""  # noqa: W291 - as it is
END = "Requests/sec:     24.34\nTransfer/sec:      4.80KB\n"


def test_what_wrk_says() -> None:
    assert read(SAID + END) == Load(24.34, 1470.0, 50, 0)
    errors = "  Socket errors: connect 1, read 2, write 0, timeout 3\n  Non-2xx or 3xx responses: 4\n"
    assert read(SAID.replace("1.47s \n", "870.00us\n") + errors + END) == Load(24.34, 0.87, 50, 10)


def test_a_ratio_below_its_bound_is_not_met() -> None:
    loads = {rate: Load(rate, 10.0, 1, 0) for rate in (100.0, 114.0, 115.0, 116.0)}
    bare = [loads[100.0]] * 3
    good = compared("x", [loads[114.0], loads[115.0], loads[116.0]], bare)
    assert [row.met for row in good] == [True, True, True]
    bad = compared("x", [loads[114.0]] * 3, [Load(100.0, 9.0, 1, 1), *bare[:2]])
    assert [row.met for row in bad] == [False, True, False]
