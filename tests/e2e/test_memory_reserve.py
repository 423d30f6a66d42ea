"""While the machine has little memory left no program is started, and that is said
in words, before the kernel has to kill anybody."""
import os
import signal

import pytest

from lib import fcgi, threads
from lib.faults import in_words
from lib.host import new_id

MORE_THAN_THERE_IS = "4096G"
MIB = 1 << 20


@pytest.fixture
def host(start_once, programs):
    return start_once.host(
        {"warm.fcgi": programs.fcgi, "cold.fcgi": programs.fcgi,
         "each.cgi": programs.cgi, "late.fcgi": programs.fcgi},
        {"host": {"max_prepared": "0", "memory_reserve": "0"},
         "function warm": {"idle": "10m"},
         "function cold": {"queue_timeout": "300ms"},
         "function each": {"queue_timeout": "300ms"},
         "function late": {"queue_timeout": "60s"}}, is_started=False)


def reserve(host, size):
    host.configure({"host": {"memory_reserve": size}})
    assert host.verb("reload").returncode == 0


def refused(host, url):
    answer, record = host.execute(url)
    assert in_words(answer, 503)
    assert "the machine has too little memory left" in answer.text
    assert record["outcome"] == "refused" and record["status"] == 503
    assert record["billed_ms"] == 0


@pytest.fixture
def warm(host):
    """warm runs by FastCGI, and of each, by CGI, stands an empty sandbox."""
    host.start()
    instances = {}
    for name in ("warm", "each"):
        # where a start takes longer than one waits, its instance is the next's
        host.wait_served(f"/fn/{name}?head")
        instances[name] = host.execute(f"/fn/{name}?head")[1]["instance"]
    return instances


def test_while_memory_is_short_a_start_is_refused_in_words(host, warm):
    reserve(host, MORE_THAN_THERE_IS)
    answer, record = host.execute("/fn/warm?head&raw=on")
    assert answer.text == "on" and record["instance"] == warm["warm"]
    refused(host, "/fn/each?head")
    # nobody used it, and somebody waited
    ended = host.books.wait(lambda r: r["type"] == "instance" and
                            r["instance"] == warm["warm"])
    assert ended["reason"] == "ceiling"
    refused(host, "/fn/cold?head")
    host.wait_log("event=memory_short .*memory_reserve_mib=4194304 .*mend=")
    reserve(host, "0")
    for name in ("warm", "each", "cold"):
        host.wait_served(f"/fn/{name}?head")


def test_who_waits_for_memory_is_served_when_there_is_some(host, warm):
    reserve(host, MORE_THAN_THERE_IS)
    asked = threads.begin(host.execute, "/fn/late?head&raw=late")
    host.wait_asked("late", 1)
    refused(host, "/fn/cold?head")  # so that it was not too early
    reserve(host, "0")
    answer, record = asked.result(60)
    assert answer.text == "late" and record["outcome"] == "ok"
    assert record["queue_us"] >= 300000


def test_without_a_word_the_reserve_is_a_part_of_what_there_is(host):
    """Which this machine has left, as do all that run these tests."""
    del host.sections["host"]["memory_reserve"]
    host.configure({})
    host.start()
    host.wait_served("/fn/cold?head")
    assert "memory_short" not in host.log()


# -------------------------------------------------------- a limit of a cgroup

@pytest.fixture
def confined(start_once, programs):
    """A host whose cgroup may have 200 MiB more than it has now."""
    names = [f"f{number}" for number in range(8)]
    host = start_once.host(
        {f"{name}.fcgi": programs.fcgi for name in names},
        {"host": {"max_prepared": "0", "memory_reserve": "64M"},
         "defaults": {"queue_timeout": "5s"}})
    host.names = names
    group = host.find_cgroup()
    if group is None or not all((place / "memory.max").exists()
                                for place in (group, group.parent)):
        pytest.skip("NOT RUN: no controller of memory in cgroup v2 below the "
                    "host's cgroup; the virtual machine has it")
    unit = group.parent
    used = int((unit / "memory.current").read_text())
    (unit / "memory.max").write_text(str(used + 200 * MIB))
    os.kill(host.roles()["gateway"], signal.SIGKILL)
    # the next one looks at what it may have
    host.wait_log("(?s)event=role_ended.*event=role_started which=gateway")
    host.wait_served("/fn/f0?head")
    return host


def hold(host, name):
    """An execution that takes 40 MiB and keeps them; or its refusal."""
    connection, answer = host.connect(), fcgi.Answer()
    request_id = new_id()
    connection.send(fcgi.request_bytes(
        f"/fn/{name}?hold=40960&head&sleep=60000", REQUEST_ID=request_id))
    connection.read_answer(1, answer, lambda a: a.head)
    return connection, answer, request_id


def test_functions_that_fill_a_memory_limit_are_refused_and_none_is_killed(
        confined):
    host, holders = confined, []
    for name in host.names:
        connection, answer, request_id = hold(host, name)
        if answer.status != 200:
            break
        holders.append((connection, request_id))
    connection.read_answer(1, answer)
    assert in_words(answer, 503) and "memory" in answer.text
    assert host.books.wait_request(request_id)["outcome"] == "refused"
    assert 2 <= len(holders) <= 5
    for holder, _ in holders:
        holder.close()
    host.wait_served("/fn/f7?head")
    outcomes = {host.books.wait_request(one)["outcome"] for _, one in holders}
    assert outcomes == {"aborted"}
