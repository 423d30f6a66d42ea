"""Kept connections of web servers, from one run of the host to the next."""
import functools
import os
import pathlib
import signal
import socket
import threading
import time

import pytest

from lib import fcgi, servers, threads


@pytest.fixture
def host(start_once, programs):
    return start_once.host({"swiss.cgi": programs.cgi,
                            "warm.fcgi": programs.fcgi}, stores=True)


class Kept:
    """One connection, and requests on it, one after the other."""

    def __init__(self, address):
        self.connection = fcgi.Connection(address, 20)
        self.count = 0

    def send(self, what, body=b""):
        self.count += 1
        self.connection.send(fcgi.request_bytes(
            f"/fn/{what}", body, request_id=self.count,
            flags=fcgi.KEEP_CONN))
        return self

    def begin(self, what, n=None, body=b""):
        """Sends so much of a request; returns the rest of it."""
        self.count += 1
        data = fcgi.request_bytes(f"/fn/{what}", body, request_id=self.count,
                                  flags=fcgi.KEEP_CONN)
        n = len(data) if n is None else n % len(data)
        self.connection.send(data[:n])
        return data[n:]

    def read(self):
        answer = self.connection.read_answer(self.count)
        assert answer.is_complete, answer
        return answer.text

    def is_closed(self, timeout=30):
        return self.connection.is_closed_by_peer(timeout)


def restart(host):
    host.stop()
    host.start()


def take_over(host):
    host.take_over()


@pytest.mark.parametrize("again", [restart, take_over])
def test_a_connection_lives_longer_than_the_host(host, again):
    port, = servers.free_ports(1)
    host.configure({"host": {"allow_tcp": "yes",
                             "listen": f"{host.socket} 127.0.0.1:{port}"}})
    restart(host)
    fresh = Kept(host.socket)  # without a request so far
    used = [Kept(host.socket), Kept(("127.0.0.1", port))]
    for lap in range(3):
        for one in used:
            assert one.send(f"warm?head&raw=a{lap}").read() == f"a{lap}"
        again(host)
    assert fresh.send("swiss?head&raw=x").read() == "x"
    for one in used:
        assert one.send("swiss?head&echo", b"y" * 99999).read() == "y" * 99999
    assert host.log().count("event=adopted connections=3") == 3


def test_a_request_sent_while_nobody_runs_is_answered_by_the_next(host):
    used = Kept(host.socket)
    assert used.send("warm?head&raw=1").read() == "1"
    host.stop()
    used.send("warm?head&echo", b"z" * 1000)
    host.start()
    assert used.read() == "z" * 1000


def test_a_connection_that_is_busy_is_kept_behind_its_answer(host):
    used = Kept(host.socket)
    used.send("swiss?sleep=700&head&raw=old")
    time.sleep(0.2)
    thread = threading.Thread(target=restart, args=(host,))
    thread.start()
    assert used.read() == "old"
    assert used.send("swiss?head&raw=new").read() == "new"
    thread.join()


def part_of_params(one):
    return one.begin("swiss?head&raw=x", 60), "x"


def part_of_a_body(one):
    return one.begin("warm?head&echo", -40, b"z" * 3000), "z" * 3000


def answer_unread(one, size):
    """It waits in the socket, and in the host, and in the function."""
    return one.begin(f"swiss?head&out={size}"), size


def answer_begun(one):
    return one.begin("warm?head&raw=a&sleep=700&raw=b"), "ab"


def nothing_asked(one):
    return one.begin("swiss?head&raw=x", 0), "x"


SIZES = (150000, 200000, 225000, 250000, 275000, 300000, 350000, 900000)
STATES = [part_of_params, part_of_a_body, answer_begun, nothing_asked] * 4 + \
    [functools.partial(answer_unread, size=size) for size in SIZES]


def finish(begun):
    """In the middle of the drain, which waits for those that are not read."""
    def one_of_them(one):
        kept, rest, wanted = one
        kept.connection.send(rest)
        answer = kept.connection.read_answer(kept.count)
        assert answer.is_complete, answer
        assert wanted in (answer.text, len(answer.body))

    time.sleep(0.3)
    threads.all_of(one_of_them, begun)


@pytest.mark.parametrize("again", [restart, take_over])
def test_connections_outlive_the_host_whatever_is_on_its_way(host, again):
    """And the next request on each of them is the next host's."""
    host.configure({"host": {"listen": str(host.socket)},
                    "defaults": {"instances": "8"}})
    restart(host)
    kept = [(Kept(host.socket), state) for state in STATES]
    for one, _ in kept:
        assert one.send("warm?head&raw=1").read() == "1"
    begun = [(one, *state(one)) for one, state in kept]
    time.sleep(0.4)
    finished = threads.begin(finish, begun)
    again(host)
    finished.result()
    for one, _ in kept:
        assert one.send("warm?head&raw=2").read() == "2"


def test_what_the_web_server_does_not_keep_is_not_kept(host):
    once = host.connect()
    once.send(fcgi.request_bytes("/fn/swiss?sleep=500&head&raw=x"))
    time.sleep(0.2)
    thread = threading.Thread(target=restart, args=(host,))
    thread.start()
    assert once.read_answer().text == "x"
    assert once.is_closed_by_peer()
    thread.join()


def test_a_connection_in_the_middle_of_a_record_is_not_handed_on(host):
    """The next host could not know what was read of it."""
    begun = Kept(host.socket)
    begun.connection.send(fcgi.request_bytes("/fn/swiss", b"")[:5])
    begun.connection.wait_taken()
    host.stop()
    assert begun.is_closed()


def test_a_drain_closes_them(host):
    used = Kept(host.socket)
    assert used.send("warm?head&raw=1").read() == "1"
    assert host.verb("drain").returncode == 0
    assert used.is_closed()


def test_without_a_store_they_are_closed(start_once, programs):
    host = start_once.host({"swiss.cgi": programs.cgi})
    used = Kept(host.socket)
    assert used.send("swiss?head&raw=1").read() == "1"
    host.stop()
    assert used.is_closed()


def test_a_full_stop_closes_them(host):
    used = Kept(host.socket)
    assert used.send("swiss?head&raw=1").read() == "1"
    host.stop()
    assert not used.is_closed(0.3)
    host.manager.forget()
    assert used.is_closed()


def test_a_killed_gateway_closes_them_and_the_next_restart_keeps_others(host):
    lost = Kept(host.socket)
    assert lost.send("warm?head&raw=1").read() == "1"
    os.kill(host.roles()["gateway"], signal.SIGKILL)
    assert lost.is_closed()
    host.wait_served("/fn/warm?head")
    used = Kept(host.socket)
    assert used.send("warm?head&raw=2").read() == "2"
    restart(host)
    assert used.send("warm?head&raw=3").read() == "3"


def test_a_thousand_idle_connections_are_all_kept(host):
    host.configure({"host": {"max_connections": "2000"}})
    restart(host)
    many = [Kept(host.socket) for _ in range(1000)]
    for one in [*many[::50], many[-1]]:  # behind which all are accepted
        assert one.send("warm?head&raw=1").read() == "1"
    for _ in range(2):
        restart(host)
    for one in many[::25]:
        assert one.send("warm?head&raw=2").read() == "2"
    assert host.log().count("event=adopted connections=1000") == 2
    for one in many:
        one.connection.close()


def test_of_what_a_predecessor_sends_only_connections_are_taken(start_once,
                                                                programs):
    """It may have been taken over by somebody before it was drained."""
    host = start_once.host({"swiss.cgi": programs.cgi}, is_started=False)
    ours, theirs = socket.socketpair()
    nest = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(host.run_dir / "odd"))
    listening.listen()
    others = [os.open("/dev/null", os.O_RDWR), os.pipe()[0],
              listening.fileno(), socket.socket(type=socket.SOCK_DGRAM).detach(),
              nest[0].fileno(), os.open("/", os.O_RDONLY)]
    for fd in [*others, theirs.fileno()]:
        socket.send_fds(nest[0], [b"c"], [fd])
    nest[0].send(b"c")
    nest[0].send(b"more than one byte")
    socket.send_fds(nest[0], [b"c"], [others[0], others[1]])
    theirs.close()
    host.manager.store.append(("kept-connections", os.dup(nest[1].fileno())))
    nest[1].close()
    host.start()
    host.wait_log("event=adopted connections=1")
    connection = fcgi.Connection.__new__(fcgi.Connection)
    connection.sock, connection.pending = ours, b""
    with connection:
        connection.send(fcgi.request_bytes("/fn/swiss?head&raw=x"))
        assert connection.read_answer().text == "x"


@pytest.mark.parametrize("what", ["file", "stream"])
def test_what_is_no_such_pair_is_passed_over(start_once, programs, what):
    host = start_once.host({"swiss.cgi": programs.cgi}, is_started=False)
    kept = socket.socketpair() if what == "stream" else []
    fd = os.open("/dev/null", os.O_RDONLY) if what == "file" else \
        os.dup(kept[0].fileno())
    host.manager.store.append(("kept-connections", fd))
    host.start()
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"
    assert "adopted" not in host.log()
    assert pathlib.Path(host.socket).exists()
