"""Reload, drain and the end: nothing in flight is lost."""
import os
import signal
import threading
import time

import pytest

from lib import books, fcgi, host as host_room, threads, web

pytestmark = pytest.mark.any_user


@pytest.fixture
def host(start_once, programs):
    return start_once.host({"swiss.cgi": programs.cgi,
                            "warm.fcgi": programs.fcgi})


BAD = {
    "an unknown key": ({"defaults": {"idel": "60s"}}, "idel"),
    "a bad value": ({"defaults": {"memory": "12X"}}, "memory"),
    "a wrong unit": ({"defaults": {"idle": "60"}}, "idle"),
    "an unknown section": ({"nonsense": {"a": "b"}}, "nonsense"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_reload_says_where_and_the_old_goes_on(host, what):
    sections, word = BAD[what]
    host.configure(sections)
    done = host.verb("reload")
    assert done.returncode == 2
    said = done.stdout + done.stderr
    line = next(n for n, text in enumerate(
        host.ini_path.read_text().splitlines(), 1) if word in text)
    assert f"h.ini:{line}" in said, said
    assert word in said
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"
    host.execute("/fn/swiss?head")
    assert host.verb("check").returncode == 2


def test_a_reload_puts_new_settings_into_service(host):
    assert host.fetch("/fn/swiss?sleep=400&head&raw=x").status == 200
    host.configure({"defaults": {"timeout": "200ms"},
                    "host": {"url_prefix": "/run"}})
    done = host.verb("reload")
    assert done.returncode == 0, done.stderr
    assert host.fetch("/run/swiss?sleep=4000&head").status == 504
    assert host.fetch("/fn/swiss").status == 404
    host.books.wait(lambda r: r["type"] == "host" and r["event"] == "reload")


def test_a_reload_keeps_what_runs_and_uses_new_instances_after(host):
    _, before = host.execute("/fn/warm?head")
    old = threads.begin(host.execute,
                        "/fn/warm?err=begun&sleep=700&head&raw=old")
    host.wait_log("begun")
    host.configure({"defaults": {"memory": "64M"}})
    assert host.verb("reload").returncode == 0
    _, after = host.execute("/fn/warm?head")
    answer, record = old.result()
    assert answer.text == "old" and answer.is_complete
    assert record["instance"] == before["instance"]
    assert after["instance"] != before["instance"]
    assert (record["mem_limit_mib"], after["mem_limit_mib"]) == (128, 64)


def test_another_file_than_the_hosts_own_is_refused(host):
    other = host.dir / "other.ini"
    other.write_text(host.ini_path.read_text().replace("/fn", "/run"))
    done = host.installed.run("reload", "-c", other)
    assert done.returncode == 2
    assert f"has another file, {host.ini_path}; nothing was changed" in \
        done.stderr, done.stderr
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"
    assert not [r for r in host.books.all() if r.get("event") == "reload"]


def test_the_hosts_own_file_may_be_named_by_another_way(host):
    way = host.dir / "way.ini"
    way.symlink_to(host.ini_path)
    copy = host.dir / "linked.ini"
    copy.hardlink_to(host.ini_path)
    for name in (way, copy):
        assert host.installed.run("reload", "-c", name).returncode == 0


def test_sighup_reloads_as_well(host):
    host.configure({"host": {"url_prefix": "/hup"}})
    host.signal(signal.SIGHUP)
    assert host.wait_served("/hup/swiss?head&raw=x").text == "x"


def loaders(port_or_host, stop, wrong, done):
    """Six who ask without a pause until told to stop."""
    def run():
        lap = 0
        while not stop.is_set():
            lap += 1
            reply = web.get(port_or_host, f"/fn/swiss?head&raw={lap}")
            if reply.text != str(lap) or not reply.is_whole:
                wrong.append(reply)
            done.append(lap)
    return [threads.begin(run) for _ in range(6)]


def test_reloads_under_load_fail_no_request(host, start_once):
    nginx = start_once.nginx(host)
    stop, wrong, done = threading.Event(), [], []
    clients = loaders(nginx.kept, stop, wrong, done)
    for lap in range(12):
        host.configure({"defaults": {"idle": f"{30 + lap}s"}})
        if lap == 6:
            host.configure({"defaults": {"nonsense": "1"}})
            assert host.verb("reload").returncode == 2
            del host.sections["defaults"]["nonsense"]
        else:
            assert host.verb("reload").returncode == 0
        before, until = len(done), time.monotonic() + 30
        while len(done) < before + 5:
            assert time.monotonic() < until, "nobody is answered"
            time.sleep(0.1)
    stop.set()
    for client in clients:
        client.result()
    assert not wrong, f"{len(wrong)} of {len(done)} failed: {wrong[0]!r}"
    assert len(host.books.executions()) == len(done)
    books.check_seq(host.books.all(), True)


def test_a_replaced_file_serves_anew_and_the_old_one_finishes(host):
    host.add("job.sh", "echo begun $QUERY_STRING >&2; sleep 1; "
             "printf 'Content-Type: a/b\\n\\nold'\n")
    until = time.monotonic() + 30
    while host.fetch("/fn/job").status == 404:
        assert time.monotonic() < until
    old = threads.begin(host.execute, "/fn/job?the-old-one")
    host.wait_log("begun the-old-one")
    host.add("job.sh", "printf 'Content-Type: a/b\\n\\nnew'\n")
    until = time.monotonic() + 30
    while host.fetch("/fn/job").text != "new":
        assert time.monotonic() < until
    answer, record = host.execute("/fn/job")
    assert answer.text == "new"
    answer, old_record = old.result()
    assert answer.text == "old"
    assert old_record["version"] != record["version"]


def test_drain_finishes_what_runs_and_ends(host):
    asked = threads.begin(host.execute,
                          "/fn/swiss?err=begun&sleep=800&head&raw=whole")
    host.wait_log("begun")
    done = host.verb("drain")
    assert done.returncode == 0, done.stderr
    answer, record = asked.result()
    assert (answer.text, answer.is_complete) == ("whole", True)
    assert record["outcome"] == "ok"
    host.process.wait(15)
    assert host.process.returncode == 0
    assert host.books.all()[-1]["event"] == "stop"


def test_a_drain_answers_all_that_wait_in_the_backlog(host):
    """More than are accepted at once in a turn of the loop."""
    host.fetch("/fn/warm?head")
    gateway = host.roles()["gateway"]
    os.kill(gateway, signal.SIGSTOP)
    try:
        connections = [host.connect() for _ in range(200)]
        for connection in connections:
            connection.send(fcgi.request_bytes("/fn/warm?head&raw=x"))
        host.signal(signal.SIGTERM)
        time.sleep(0.3)
    finally:
        os.kill(gateway, signal.SIGCONT)
    answers = [connection.read_answer() for connection in connections]
    assert all(answer.is_complete for answer in answers)
    assert {answer.status for answer in answers} <= {200, 503}
    assert host.process.wait(30) == 0
    assert len(host.books.executions()) == 201


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_end_lets_what_runs_finish(host, number):
    asked = threads.begin(host.fetch,
                          "/fn/warm?err=begun&sleep=700&head&raw=whole")
    host.wait_log("begun")
    host.signal(number)
    answer = asked.result()
    assert answer.text == "whole" and answer.is_complete
    assert host.process.wait(15) == 0
    records = host.books.all()
    assert (records[-1]["type"], records[-1]["event"]) == ("host", "stop")
    assert [r["outcome"] for r in records if r["type"] == "exec"] == ["ok"]
    books.check_seq(records, True)


def test_the_end_comes_at_once_where_the_last_client_has_left(host):
    """Its execution is killed, and with it the last instance: nothing is left
    that would wake anybody."""
    host.configure({"defaults": {"abort_grace": "300ms"}})
    assert host.verb("reload").returncode == 0
    connection = host.connect()
    connection.send(fcgi.request_bytes("/fn/swiss?err=begun&head&sleep=20000"))
    host.wait_log("begun")
    connection.close()
    host.signal(signal.SIGTERM)
    started = time.monotonic()
    assert host.process.wait(60) == 0
    assert time.monotonic() - started < 15
    records = host.books.executions()
    assert [r["outcome"] for r in records] == ["aborted"]


def test_after_a_stop_nobody_listens_and_a_start_serves_again(host):
    host.execute("/fn/swiss?head")
    host.stop()
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
        host.connect()
    host.start()
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"


def test_a_second_host_on_the_same_socket_refuses_to_start(host):
    done = host.installed.run("run", "-c", host.ini_path, timeout=20)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "run" in said and len(said) < 4000
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"


def test_the_service_manager_is_told(host):
    """READY=1 was awaited at the start; the end is told too."""
    host.signal(signal.SIGTERM)
    host.wait_notice("STOPPING=1")
    host.process.wait(15)


def test_ids_are_unique_over_restarts(host):
    ids = []
    for _ in range(2):
        ids.append(host.execute("/fn/swiss?head")[1])
        host.stop()
        host.start()
    assert len({r["id"] for r in ids}) == 2
    assert len({r["instance"] for r in ids}) == 2
    assert host_room.new_id() != host_room.new_id()
