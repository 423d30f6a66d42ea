"""What a hostile function tries on the host itself and on its neighbours: the
probes of tests/probes/probes.ini that no single sandbox can show.
"""
import os
import pathlib
import shutil
import statistics
import threading
import time

import pytest

from lib import hostile, proc

pytestmark = pytest.mark.any_user

ENDLESS = {"header": 502, "fields": 502, "crlf": 502, "trickled-header": 504}
GATEWAY_KIB = 16384 # more than this it must not grow by one endless answer


@pytest.fixture(scope="module")
def host(start, programs, installed, reachable, as_user):
    probe = hostile.program(installed, programs)
    start.installed = reachable if as_user else installed
    host = start.host({"mallory/probe.cgi": probe,
                       "mallory/harm.cgi": programs.harm,
                       "mallory/setuid/main": probe,
                       "bob/good.cgi": programs.cgi}, is_started=False,
                      as_user=as_user)
    start.installed = installed
    planted = host.functions / "mallory/setuid/setuid"
    shutil.copy(probe, planted)
    planted.chmod(0o4755)
    host.sidecar("mallory/probe", **{
        "memory": "64M", "processes": "32", "env.PROBE_BOMB": "3000"})
    host.sidecar("mallory/harm", **{"timeout": "1s"})
    return host.start()


@pytest.fixture(autouse=True)
def the_host_and_its_neighbours_go_on(host):
    before = host.roles()
    yield
    assert host.fetch("/fn/bob/good?head&raw=x").text == "x"
    assert host.roles() == before


def wait_ended(host, program, seconds=30):
    """Until no process of the function is left."""
    until = time.monotonic() + seconds
    while True:
        left = [pid for pid in host.instances()
                if program in (proc.program(pid) or "")]
        if not left:
            return
        assert time.monotonic() < until, f"left: {left}"
        time.sleep(0.05)


# Probe 5.
def test_a_setuid_program_of_root_gives_nothing(host):
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: a program of root's is planted by root")
    planted = host.functions / "mallory/setuid/setuid"
    assert planted.stat().st_mode & 0o4000 and planted.stat().st_uid == 0
    answer, record = host.execute("/fn/mallory/setuid", QUERY_STRING="5")
    assert "probe 5: denied" in answer.text, answer.text
    assert record["exit"] == 0


# Probe 35.
def test_a_fork_bomb_slows_no_other_function(host):
    def times(count):
        found = []
        for _ in range(count):
            begun = time.monotonic()
            assert host.fetch("/fn/bob/good?head&raw=x").text == "x"
            found.append(time.monotonic() - begun)
        return found

    times(5)
    quiet = statistics.median(times(40))
    bombs = [threading.Thread(target=host.fetch, args=("/fn/mallory/probe",),
                              kwargs={"QUERY_STRING": "35"}) for _ in range(4)]
    for bomb in bombs:
        bomb.start()
    loud = sorted(times(100))
    for bomb in bombs:
        bomb.join()
    # a machine that others use, too, may be slow for a moment
    assert loud[-2] < max(50 * quiet, 1), (quiet, loud[-5:])
    answer, record = host.execute("/fn/mallory/probe", QUERY_STRING="35")
    assert "Resource temporarily unavailable" in answer.text, answer.text
    assert record["outcome"] == "ok"
    wait_ended(host, "probe")


# Probe 36: by the controller the whole instance, else the program alone.
def test_a_memory_bomb_ends_only_itself(host):
    answer, record = host.execute("/fn/mallory/probe", QUERY_STRING="36",
                                  timeout=30)
    if record["outcome"] == "ok":
        assert "a memory bomb: Cannot allocate memory" in answer.text
        assert record["mem_peak_kib"] <= 65 * 1024
    else:
        assert record["outcome"] in ("oom", "error", "crash"), record
    assert "HOLE" not in answer.text, answer.text


# Probe 38.
@pytest.mark.parametrize("how", ["stop", "wait"])
def test_who_stops_itself_or_will_not_end_is_ended_at_the_deadline(host, how):
    begun = time.monotonic()
    answer, record = host.execute("/fn/mallory/harm", QUERY_STRING=how)
    assert time.monotonic() - begun < 20
    assert record["outcome"] == "timeout", record
    assert answer.status == 504 or not answer.is_complete
    wait_ended(host, "harm")


# Probe 39.
@pytest.mark.parametrize("how", [*ENDLESS, "body", "trickled-body"])
def test_an_answer_without_end_is_bounded(host, how):
    gateway = host.roles()["gateway"]
    before = proc.peak_rss_kib(gateway)
    answer, record = host.execute("/fn/mallory/harm", QUERY_STRING=how,
                                  timeout=20)
    if how in ENDLESS:
        assert (answer.is_complete, answer.status) == (True, ENDLESS[how])
    else:
        assert not answer.is_complete and record["outcome"] == "timeout"
    assert proc.peak_rss_kib(gateway) - before < GATEWAY_KIB
    wait_ended(host, "harm")
