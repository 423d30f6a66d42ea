"""A function that burns the processor goes behind the others for as long as it
does.  What the kernel was told is read back from it, and nothing is timed."""
import contextlib
import os
import pathlib
import re
import signal
import time

import pytest

from lib import fcgi, host as host_room, proc, threads

# Small steps: on a busy machine who is far behind would not come to his end.
WEIGHTS = {100: 0, 80: 1, 64: 2}


@pytest.fixture
def host(start_once, programs):
    host = start_once.host(
        {"burns.cgi": programs.cgi, "calm.cgi": programs.cgi,
         "bob/calm.cgi": programs.cgi},
        {"host": {"max_prepared": "0", "hot_nice": "2"},
         "defaults": {"timeout": "5m"}})
    if manner(host) == "none":
        pytest.skip("NOT RUN: neither a cpu controller of cgroup v2 nor "
                    "autogroups here: nobody can be put behind")
    return host


def manner(host):
    return host.wait_log(r"event=start .*behind=(\S+)").group(1)


def nices(host, pids):
    """How far behind the processes' function is, in what this machine has."""
    if manner(host) == "autogroup":
        texts = [pathlib.Path(f"/proc/{pid}/autogroup").read_text()
                 for pid in pids]
        return {int(re.search(r"nice (-?\d+)", text).group(1))
                for text in texts}
    return {WEIGHTS[int((proc.cgroup_v2(pid).parent /
                         "cpu.weight").read_text())] for pid in pids}


def wait_nice(host, pids, nice, timeout=60):
    until = time.monotonic() + timeout
    while nices(host, pids) != {nice}:
        assert time.monotonic() < until, \
            f"nice {nices(host, pids)}, and not {nice}"
        time.sleep(0.02)


def set_nice(host, nice):
    host.configure({"host": {"max_prepared": "0", "hot_nice": str(nice)},
                    "defaults": {"timeout": "5m"}})
    assert host.verb("reload").returncode == 0


def instance_of(host, name):
    """The processes of the function's first instance."""
    before = set(host.instances())
    assert host.execute(f"/fn/{name}?head&raw=x")[0].text == "x"
    return set(host.instances()) - before


@contextlib.contextmanager
def burning(host):
    """An execution that burns until its client leaves."""
    with host.connect() as connection:
        connection.send(fcgi.request_bytes("/fn/burns?head&cpu=200000"))
        yield


def test_who_burns_goes_behind_and_comes_back_when_it_is_over(host):
    calm, burns = instance_of(host, "calm"), instance_of(host, "burns")
    wait_nice(host, calm | burns, 0)  # a start burns, too
    answer = threads.begin(host.execute, "/fn/burns?head&cpu=4000&raw=x", b"",
                           120)
    wait_nice(host, burns, 2)
    assert nices(host, calm) == {0}
    assert nices(host, set(host.roles().values())) == {0} or \
        manner(host) != "autogroup"
    assert answer.result()[0].text == "x"
    wait_nice(host, burns, 0)
    host.check_log()


def wait_weights(branches, wanted, timeout=20):
    until = time.monotonic() + timeout
    while [(branch / "cpu.weight").read_text().strip()
           for branch in branches] != wanted:
        assert time.monotonic() < until, wanted
        time.sleep(0.02)


def test_a_tenant_goes_behind_the_others_with_his_hottest(host):
    if manner(host) != "cpu.weight":
        pytest.skip("NOT RUN: no cpu controller of cgroup v2: sessions have "
                    "no tenant")
    branches = [proc.cgroup_v2(min(instance_of(host, name))).parent.parent
                for name in ("calm", "bob/calm")]
    with burning(host):
        wait_weights(branches, ["64", "100"])
    wait_weights(branches, ["100", "100"])


def test_how_far_is_a_setting_and_0_lets_nobody_go_behind(host):
    burns = instance_of(host, "burns")
    with burning(host):
        wait_nice(host, burns, 2)
        set_nice(host, 0)
        wait_nice(host, burns, 0)
        time.sleep(0.5)  # longer than between two looks
        assert nices(host, burns) == {0}
        set_nice(host, 1)
        wait_nice(host, burns, 1)


def test_what_a_killed_host_left_behind_comes_back_with_the_next(host):
    if manner(host) != "cpu.weight":
        pytest.skip("NOT RUN: no cpu controller of cgroup v2: what is behind "
                    "ends with the host here")
    group = host.find_cgroup()
    burns = instance_of(host, "burns")
    below = proc.descendants(host.pid)
    with burning(host):
        wait_nice(host, burns, 2)
        wait_weights([group], ["64"])
        os.kill(host.roles()["spawner"], signal.SIGKILL)
        host.process.wait(30)
        assert not host_room.wait_gone(below, 20)
    host.start()
    wait_weights([host.find_cgroup()], ["100"])
