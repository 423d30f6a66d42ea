"""Ceilings by the controllers, wherever the host was started: in a delegated
scope, without a service manager in the root cgroup, and where others stand."""
import subprocess
import time

import pytest

from lib import threads

AT_ROOT = ("sh", "-c", 'echo $$ > /sys/fs/cgroup/cgroup.procs && exec "$@"',
           "sh")
SHARED = ("systemd-run", "--quiet", "--scope", "--", "sh", "-c",
          '(setsid sleep 60 </dev/null >/dev/null 2>&1 &) && exec "$@"', "sh")
LIMITS = {"defaults": {"memory": "64M", "processes": "12"},
          "function slow": {"cpu": "0.2"}}


@pytest.fixture
def place(start_once, programs, monkeypatch):
    """place(WRAP, **more): a host that was started so; None: delegated."""
    def make(wrap=None, sections=LIMITS):
        if wrap is not None:
            monkeypatch.delenv("HOST_WRAP")
        return start_once.host(
            {"c.cgi": programs.cgi, "f.fcgi": programs.fcgi,
             "p.cgi": programs.probe, "slow.cgi": programs.cgi}, sections, wrap=wrap or ())
    return make


def try_ceilings(host):
    """Memory, processes and cpu, each by a function that wants more."""
    for name in "cf":
        answer, record = host.execute(f"/fn/{name}?head&hold=200000&raw=ok")
        assert record["outcome"] == "oom", (answer, record)
        assert host.fetch(f"/fn/{name}?head&raw=ok").text == "ok"
    answer, _ = host.execute("/fn/p", QUERY_STRING="35")
    assert "probe 35: denied" in answer.text, answer.text
    began = time.monotonic()
    _, record = host.execute("/fn/slow?head&cpu=300")
    # a fifth of a processor; clocks go by ticks of 10 ms
    assert time.monotonic() - began > 1.0, record


def test_in_a_delegated_scope_every_ceiling_is_the_kernels(place):
    host = place()
    try_ceilings(host)


def test_without_a_service_manager_it_is_the_same_in_the_root_cgroup(place):
    host = place(AT_ROOT)
    assert host.find_cgroup().parent == type(host.find_cgroup())(
        "/sys/fs/cgroup")
    try_ceilings(host)


def test_where_others_stand_the_stand_ins_hold_and_it_is_said(place):
    host = place(SHARED, {"defaults": {"memory": "64M", "processes": "12"}})
    assert "other processes share the cgroup" in host.log()
    group = host.find_cgroup()
    assert not (group / "memory.max").exists()
    answer, record = host.execute("/fn/c?head&hold=200000&raw=ok")
    assert record["outcome"] in ("ok", "error", "crash"), record
    assert "mem=denied" in answer.text, answer.text
    answer, _ = host.execute("/fn/p", QUERY_STRING="35")
    assert "probe 35: denied" in answer.text, answer.text
    assert host.fetch("/fn/f?head&raw=ok").text == "ok"


def test_required_the_controllers_are_a_start_refused(start_once,
                                                      programs, monkeypatch):
    monkeypatch.delenv("HOST_WRAP")
    host = start_once.host({"c.cgi": programs.cgi},
                           {"host": {"require": "cgroup"}}, wrap=SHARED,
                           is_started=False)
    done = subprocess.run(
        [*SHARED, str(host.installed.command), "run", "-c",
         str(host.ini_path)], env=host.installed.environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 1
    assert "cgroup" in done.stdout and "Delegate=yes" in done.stdout


def test_swap_is_none_of_a_functions_memory(place):
    host = place()
    host.fetch("/fn/f?head")
    leaves = [path.parent for path in host.find_cgroup().rglob("memory.max")
              if path.parent.name.startswith("i")]
    assert leaves
    for leaf in leaves:
        swap = leaf / "memory.swap.max"
        assert not swap.exists() or swap.read_text() == "0\n"
        assert (leaf / "memory.oom.group").read_text() == "1\n"


def test_a_drain_ends_what_programs_left_behind_and_removes_the_cgroup(place):
    host = place()
    threads.all_of(host.fetch, ["/fn/f?head&daemon=60000"] * 2)
    group = host.find_cgroup()
    host.verb("drain")
    host.process.wait(30)
    until = time.monotonic() + 10
    while group.exists():
        assert time.monotonic() < until
        time.sleep(0.05)
