"""The machine's clock is set, an hour forth and back, while the service serves."""
import os
import time

import pytest

import service
from lib import books, load as load_room, threads

HOUR = 3600
# Far more than anything here takes, and far less than a step.
LONG_US = 600 * 1000000


@pytest.fixture
def set_clock():
    """Sets it forth or back; afterwards it is right again."""
    real, begin = time.time(), time.monotonic()
    yield lambda seconds: time.clock_settime(time.CLOCK_REALTIME,
                                             time.time() + seconds)
    time.clock_settime(time.CLOCK_REALTIME, real + time.monotonic() - begin)


@pytest.fixture
def timed(functions, programs):
    """Functions whose timers run while the clock is set."""
    service.add("clock/late.cgi", programs.cgi, timeout="2s")
    service.add("clock/brief.fcgi", programs.fcgi, idle="2s")
    service.add("clock/one.cgi", programs.cgi, instances="1",
                queue_timeout="2s")


def begin(name, query="", count=1):
    """A request, once so many run or wait for the function."""
    request_id = "t" + os.urandom(10).hex()
    asked = threads.begin(service.fetch, f"/fn/{name}?{query}head",
                          REQUEST_ID=request_id)
    service.wait(lambda: [row for row in service.told("status")["functions"]
                          if row["function"] == name and
                          row["busy"] + row["waiting"] == count],
                 what=f"{name} is asked")
    return asked, request_id


def ended(begun, status, outcome):
    """Its record: no time in it is the clock's."""
    asked, request_id = begun
    assert asked.result(60).status == status
    record = service.BOOKS.wait_request(request_id)
    assert record["outcome"] == outcome, record
    for key in ("run_us", "queue_us", "init_us"):
        assert record[key] < LONG_US, record
    assert record["billed_ms"] < LONG_US / 1000
    return record


@pytest.mark.parametrize("hours", [1, -1], ids=["forth", "back"])
def test_a_clock_that_is_set_moves_no_timer_and_no_bill(timed, functions,
                                                        set_clock, hours):
    """Of an execution, of its deadline, of who waits for it, of an idle window.
    Of the load beside each request has one record."""
    load = load_room.Load(least=1)
    load.add(load_room.Raw, functions, service.SOCKET)
    load.add(load_room.Kept, functions, service.SOCKET, threads=1)
    before = len(service.BOOKS.all())
    with load:
        runs = begin("clock/one", "sleep=6000&")
        waits = begin("clock/one", count=2)
        late = begin("clock/late", "sleep=60000&")
        _, brief = service.execute("/fn/clock/brief?head")
        set_clock(hours * HOUR)
        load.wait_answered(8)
        assert ended(late, 504, "timeout")["run_us"] >= 2000000
        assert ended(waits, 503, "refused")["queue_us"] >= 2000000
        assert ended(runs, 200, "ok")["run_us"] >= 6000000
        idle = service.BOOKS.wait(
            lambda r: r["type"] == "instance" and
            r["instance"] == brief["instance"] and r["reason"] != "day")
        assert idle["reason"] == "idle" and 2000000 <= idle["idle_us"] < LONG_US
        load.wait_answered(8)
    load.check()
    records = service.BOOKS.all()
    load.judge(records)
    new = [r for r in records[before:] if r["type"] == "exec"]
    assert len(new) == len({r["id"] for r in new})
    books.check_seq(records[before:])
