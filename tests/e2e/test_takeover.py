"""`run --takeover`: a host ends and another goes on, with the same sockets."""
import os
import pathlib
import signal
import socket
import time

import pytest

from lib import books, fcgi, host as host_room, proc, servers, threads


@pytest.fixture
def host(start_once, programs):
    return start_once.host({"swiss.cgi": programs.cgi,
                            "warm.fcgi": programs.fcgi})


def ask(host, what, **params):
    connection = host.connect()
    connection.send(fcgi.request_bytes(f"/fn/{what}", **params))
    return connection


def drains(gateway, timeout=30):
    """Until the gateway accepts nothing any more."""
    until = time.monotonic() + timeout
    while proc.listening(gateway) > 0:
        assert time.monotonic() < until, "it goes on listening"
        time.sleep(0.01)


def refused(host, *words):
    """The second host does not start, says why, and the first serves on."""
    done = host.installed.run("run", "--takeover", "-c", host.ini_path,
                              timeout=30)
    said = done.stdout + done.stderr
    assert done.returncode in (1, 2), said
    for word in words:
        assert word in said, said
    assert host.process.poll() is None
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"
    return said


def test_the_next_host_goes_on_with_the_same_socket(host):
    before = os.stat(host.socket)
    for lap in range(3):
        assert host.fetch(f"/fn/warm?head&raw={lap}").text == str(lap)
        host.take_over()
        after = os.stat(host.socket)
        assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)
        assert host.fetch(f"/fn/swiss?head&raw={lap}").text == str(lap)
    host.stop()
    runs = books.runs(host.books.all())
    assert len(runs) == 4
    for records in runs:
        books.check_seq(records, True)
        assert records[-1]["event"] == "stop"
    assert [r["outcome"] for r in host.books.executions()] == ["ok"] * 6


def test_what_runs_finishes_and_what_comes_meanwhile_waits(host):
    long = ask(host, "swiss?err=begun&sleep=1500&head&raw=long",
               REQUEST_ID="long")
    host.wait_log("begun")
    gateway = host.roles()["gateway"]
    taking_over = threads.begin(host.take_over)
    drains(gateway)
    short = ask(host, "swiss?head&raw=short", REQUEST_ID="short")
    assert long.is_answered("long")
    assert short.is_answered("short")
    taking_over.result()
    first, second = books.runs(host.books.all())
    assert [r["request_id"] for r in first if r["type"] == "exec"] == ["long"]
    assert [r["request_id"] for r in second if r["type"] == "exec"] == ["short"]
    assert first[-1]["event"] == "stop"  # behind which the second begins


def test_where_no_host_runs_it_is_an_ordinary_start(start_once, programs):
    host = start_once.host({"swiss.cgi": programs.cgi}, is_started=False)
    host.launch("--takeover")
    host.wait_notice("READY=1")
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"


def test_a_host_that_was_killed_leaves_nothing_to_take_over(host):
    os.kill(host.pid, signal.SIGKILL)
    host.process.wait()
    host.launch("--takeover")
    host.wait_notice("READY=1")
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"


def test_what_listens_may_change_with_it(host):
    port, = servers.free_ports(1)
    other = str(host.run_dir / "other")
    host.configure({"host": {"listen": f"{host.socket} {other}"}})
    host.take_over()
    assert fcgi.fetch(other, "/fn/swiss?head&raw=x").text == "x"
    host.configure({"host": {"allow_tcp": "yes", "listen_mode": "0600",
                             "listen": f"127.0.0.1:{port} {host.socket}"}})
    host.take_over()
    assert not os.path.exists(other)
    assert os.stat(host.socket).st_mode & 0o777 == 0o600
    for address in (host.socket, ("127.0.0.1", port)):
        assert fcgi.fetch(address, "/fn/swiss?head&raw=x").text == "x"


def test_a_configuration_with_an_error_takes_nothing_over(host):
    host.configure({"defaults": {"idel": "1s"}})
    refused(host, "idel")


def test_an_address_that_is_taken_is_found_before_the_old_host_ends(host):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        new = str(host.run_dir / "new")
        host.configure({"host": {
            "allow_tcp": "yes",
            "listen": f"{new} {host.socket} 127.0.0.1:{port}"}})
        refused(host, "cannot listen on", "another program listens there")
        assert not os.path.exists(new)


def test_missing_functions_are_found_before_the_old_host_ends(host):
    host.configure({"host": {"functions": "/nonexistent"}})
    refused(host, "the functions directory /nonexistent")


def test_an_account_that_is_none_is_found_before_the_old_host_ends(host):
    host.configure({"host": {"user": "nobody-of-that-name"}})
    refused(host, "there is no account")


def door(host):
    """As a successor comes: what it is told first."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.settimeout(5)
    client.connect(str(host.run_dir / "takeover.sock"))
    words, sockets = [], []
    while not words or words[-1] != b"ready":
        word, fds, _, _ = socket.recv_fds(client, 64, 1)
        words.append(word)
        sockets += fds
    for fd in sockets:
        os.close(fd)
    assert words == [b"fcgi-host takeover 1", b"ours", b"kept", b"ready"]
    return client


def test_who_says_something_else_than_go_is_shown_the_door(host):
    assert os.stat(host.run_dir / "takeover.sock").st_mode & 0o777 == 0o600
    for word in (b"g", b"go ", b"gone", b"\0", b"x" * 64, b"x" * 4096):
        with door(host) as client:
            client.send(word)
            assert client.recv(64) == b""
    door(host).close()
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"
    assert "event=drain" not in host.log()


def test_who_is_silent_is_shown_the_door_and_the_next_is_heard(host):
    with door(host) as silent:
        silent.settimeout(60)
        started = time.monotonic()
        assert silent.recv(64) == b""
        assert 8 < time.monotonic() - started < 30
    host.take_over()


def test_a_successor_that_dies_takes_nothing_along(host):
    with door(host) as client:
        client.send(b"go")
        host.wait_log("event=drain ")
    assert host.process.wait(20) == 0
    assert host.books.all()[-1]["event"] == "stop"


def test_a_successor_that_dies_while_it_waits_leaves_no_socket(host):
    running = ask(host, "swiss?err=begun&sleep=1000&head&raw=x")
    host.wait_log("begun")
    with door(host) as client:
        client.send(b"go")
        host.wait_log("event=drain ")
    assert running.is_answered("x")
    assert host.process.wait(20) == 0
    assert list(host.run_dir.glob("*.sock")) == []


def test_the_old_host_may_die_in_the_middle(host):
    running = ask(host, "swiss?err=begun&sleep=20000&head", REQUEST_ID="long")
    host.wait_log("begun")
    old, gateway = host.process, host.roles()["gateway"]
    host.launch("--takeover")
    drains(gateway)
    waiting = ask(host, "swiss?head&raw=x", REQUEST_ID="short")
    old.kill()
    host.wait_notice("READY=1")
    old.wait()
    assert waiting.is_answered("x")
    running.close()
    host.books.wait_request("long")
    first, second = books.runs(host.books.all())
    books.check_seq(second, True)
    assert host.books.wait_request("long") in second
    assert host.books.wait_request("long")["outcome"] == "lost"
    assert host.books.wait_request("short")["outcome"] == "ok"


@pytest.mark.parametrize("words", [
    [b"fcgi-host takeover 2", b"ready"], [b"ready"], [b"x" * 5000], [],
    [b"fcgi-host takeover 1", b"ours", b"ready"],
    [b"fcgi-host takeover 1", b"more"]])
def test_a_host_that_speaks_otherwise_is_said_to_go_on(start_once, programs,
                                                       words):
    host = start_once.host({"swiss.cgi": programs.cgi}, is_started=False)
    other = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    other.bind(str(host.run_dir / "takeover.sock"))
    other.listen()

    def speak():
        client, _ = other.accept()
        try:
            for word in words:
                client.send(word)
        except BrokenPipeError:
            pass  # it had heard enough
        client.close()
    speaker = threads.begin(speak)
    done = host.installed.run("run", "--takeover", "-c", host.ini_path,
                              timeout=30)
    speaker.result()
    other.close()
    assert done.returncode == 1
    assert "does not hand over its sockets" in done.stderr
    assert not pathlib.Path(host.socket).exists()


def test_a_given_socket_is_handed_on_and_stays_with_who_gave_it(
        start_once, programs):
    host = start_once.host({"swiss.cgi": programs.cgi}, is_started=False)
    host.manager.hold("fcgi-host.socket", host.socket)
    host.start()
    held = host.manager.sockets.pop()
    host.take_over()
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"
    host.stop()
    assert os.path.exists(host.socket)
    held[0].close()


def test_both_hosts_may_be_given_the_same_socket(start_once, programs):
    """As of a .socket unit for several services, or an ExecStart= with
    --takeover."""
    host = start_once.host({"swiss.cgi": programs.cgi}, is_started=False)
    host.manager.hold("fcgi-host.socket", host.socket)
    host.launch("--takeover")
    host.wait_notice("READY=1")
    for lap in range(2):
        running = ask(host, f"swiss?sleep=400&head&raw={lap}")
        time.sleep(0.2)
        host.take_over()
        assert running.is_answered(str(lap))
        assert host.fetch("/fn/swiss?head&raw=x").text == "x"
    host.stop()
    assert os.path.exists(host.socket)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_that_waits_for_its_turn_may_be_told_to_stop(host, number):
    running = ask(host, "swiss?err=begun&sleep=4000&head&raw=x")
    host.wait_log("begun")
    old, gateway = host.process, host.roles()["gateway"]
    host.launch("--takeover")
    drains(gateway)
    host.signal(number)
    assert host.process.wait(30) == 0
    assert "told to stop before it had taken over" in host.log()
    assert old.poll() is None
    assert running.is_answered("x")
    assert old.wait(20) == 0
    assert list(host.run_dir.glob("*.sock")) == []


def test_a_host_that_finds_another_names_the_way_to_take_over(host):
    done = host.installed.run("run", "-c", host.ini_path, timeout=20)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert f"another host (process {host.pid}) runs in {host.run_dir}; stop it, or start this one " \
        "with --takeover in its place, or give this one a `run` of its own" in said


def test_of_two_successors_one_goes_on(host):
    first = host.process
    host.launch("--takeover")
    second = host.process
    host.launch("--takeover")
    assert first.wait(20) == 0
    until = time.monotonic() + 20
    while second.poll() is None and host.process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    if host.process.poll() is not None:
        host.process, second = second, host.process
    assert second.returncode in (0, 1)
    host.wait_served("/fn/swiss?head", 20)
    assert host_room.wait_gone([first.pid, second.pid]) == []
