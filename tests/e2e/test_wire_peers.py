"""The wire as web servers use it at its edges: what they ask, how long they
wait, what they leave out, and what a full backlog is to them."""
import errno
import os
import pathlib
import re
import resource
import select
import shutil
import signal
import socket
import threading
import time

import pytest

from lib import fcgi, programs as programs_room, servers, threads, web

PARAMS = pathlib.Path("/etc/nginx/fastcgi_params")

# What nginx keeps of fastcgi_param where a block has one of its own.
NGINX = """
    server {{
        listen 127.0.0.1:{port};
        include {params};
        location /fn/ {{
            fastcgi_pass unix:{socket};
            fastcgi_read_timeout 300ms;
        }}
        location /fn/swiss/dropped {{
            fastcgi_param REQUEST_ID $request_id;
            fastcgi_pass unix:{socket};
        }}
    }}"""


@pytest.fixture(scope="module")
def host(start, programs):
    return start.host(
        {"swiss.cgi": programs.cgi, "warm.fcgi": programs.fcgi,
         "brief.cgi": programs.cgi},
        {"function brief": {"timeout": "100ms"},
         "defaults": {"abort_grace": "50ms"}}, socket_name="fcgi-host.sock")


@pytest.fixture(scope="module")
def port(start, host):
    """nginx with its built-in times and sizes, but for one."""
    made, = servers.free_ports(1)
    start.nginx(host, http_more=NGINX.format(port=made, params=PARAMS,
                                             socket=host.socket))
    return made


@pytest.fixture(scope="module")
def shipped(start, host):
    return start.server("nginx", host)


# W51
def test_nginx_waits_as_long_as_one_read_may_take(host, port, shipped):
    """Where that is longer than the host's own times the client gets the host's
    word; as it is installed it is."""
    reply = web.get(port, "/fn/swiss?sleep=60000")
    assert reply.status == 504 and "nginx" in reply.text
    host.books.wait(lambda r: r["type"] == "exec" and
                    r["function"] == "swiss" and r["outcome"] == "aborted")
    reply = web.get(shipped.plain, "/fn/brief?sleep=60000")
    assert (reply.status, reply.text) == \
        (504, "the execution's time-out is over\n")
    conf = programs_room.TREE / "conf"
    waits, = re.findall(r"^\tfastcgi_read_timeout (\d+)s;$",
                        (conf / "nginx-location.conf.in").read_text(), re.M)
    own = dict(re.findall(r"^;(queue_timeout|timeout) = (\d+)s$",
                          (conf / "fcgi-host.ini.in").read_text(), re.M))
    assert int(waits) > int(own["queue_timeout"]) + int(own["timeout"])


@pytest.mark.parametrize("name", ["swiss", "warm"])
# W51
def test_a_head_must_fit_into_one_buffer_of_nginx(port, shipped, name):
    """A page, unless it is told otherwise, as it is where it is installed."""
    url = f"/fn/{name}?field=X-Long:+{'x' * 7000}&head&raw=x"
    assert web.get(port, url).status in (414, 502)
    # longer than a URL may be
    url = f"/fn/{name}?" + "".join(
        f"field=X-{n}:+{'x' * 1000}&" for n in range(7)) + "head&raw=x"
    reply = web.get(shipped.plain, url)
    assert (reply.status, reply.text) == (200, "x")
    assert reply.header("X-6") == "x" * 1000


# W53
def test_one_fastcgi_param_drops_those_further_out_and_the_host_says_so(port):
    """Else it would be a mere 404."""
    assert web.get(port, "/fn/swiss/kept?head&raw=x").text == "x"
    reply = web.get(port, "/fn/swiss/dropped?head&raw=x")
    assert reply.status == 400
    assert "write `include fastcgi_params;` beside it" in reply.text


class Tap(threading.Thread):
    """Listens for a host, hands every connection on to it, and keeps what both
    sides have said: a list of [what the peer said, what the host said]."""

    def __init__(self, path, host):
        super().__init__(daemon=True)
        self.host, self.said = host, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        os.chmod(path, 0o666)
        self.listener.listen(64)

    def run(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            host = socket.socket(socket.AF_UNIX)
            host.connect(self.host.socket)
            said = [b"", b""]
            self.said.append(said)
            threads.begin(self.pass_on, peer, host, said)

    @staticmethod
    def pass_on(peer, host, said):
        with peer, host:
            while True:
                for one in select.select([peer, host], [], [])[0]:
                    data = one.recv(65536)
                    if not data:
                        return
                    said[one is host] += data
                    (peer if one is host else host).sendall(data)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.join()
        self.listener.close()


def records(data):
    """[(type, id, content)] of what one side said."""
    at, found = 0, []
    while at < len(data):
        length = int.from_bytes(data[at + 4:at + 6], "big")
        found.append((data[at + 1], int.from_bytes(data[at + 2:at + 4], "big"),
                      data[at + 8:at + 8 + length]))
        at += 8 + length + data[at + 6]
    return found


@pytest.fixture
def tapped(start_once, host):
    """HAProxy, before a tap."""
    chroot = host.dir / "chroot"
    chroot.mkdir(mode=0o755)
    tap = Tap(chroot / "fcgi-host.sock", host)
    tap.start()
    haproxy = start_once.server("asking HAProxy", host)
    yield haproxy, tap
    haproxy.stop()
    tap.close()
    shutil.rmtree(chroot)


# W55
def test_haproxy_asks_with_get_values_and_believes_the_answer(tapped):
    """It would multiplex; it is told that a connection has one at a time."""
    haproxy, tap = tapped
    replies = threads.all_of(lambda n: web.get(
        haproxy.plain, f"/fn/warm?head&sleep=50&raw={n}"), range(20))
    assert [reply.text for reply in replies] == [str(n) for n in range(20)]
    assert tap.said
    for asked, told in tap.said:
        kind, request_id, content = records(asked)[0]
        assert (kind, request_id) == (fcgi.GET_VALUES, 0)
        assert b"FCGI_MPXS_CONNS" in fcgi.read_pairs(content)
        kind, request_id, content = records(told)[0]
        assert (kind, request_id) == (fcgi.GET_VALUES_RESULT, 0)
        assert fcgi.read_pairs(content)[b"FCGI_MPXS_CONNS"] == b"0"
        assert [one[2][4] for one in records(told) if one[0] == fcgi.END] == \
            [fcgi.REQUEST_COMPLETE] * \
            len([one for one in records(asked) if one[0] == fcgi.BEGIN])


@pytest.fixture
def many_descriptors():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def fill_backlog(path):
    """Connections, each with its request, until there is room for no more."""
    waiting = []
    while True:
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        error = sock.connect_ex(path)
        if error:
            sock.close()
            assert error == errno.EAGAIN, os.strerror(error)
            return waiting
        sock.send(fcgi.request_bytes("/fn/nobody"))
        waiting.append(sock)


# W54
def test_a_full_backlog_is_eagain_and_all_in_it_are_answered(
        start_once, many_descriptors):
    """nginx makes a 502 of it: so it is as large as the kernel allows, and who
    is in it is taken at once and refused in words at worst."""
    host = start_once.host({})
    gateway = host.roles()["gateway"]
    room = int(pathlib.Path("/proc/sys/net/core/somaxconn").read_text())
    os.kill(gateway, signal.SIGSTOP)
    try:
        waiting = fill_backlog(host.socket)
    finally:
        os.kill(gateway, signal.SIGCONT)
    assert len(waiting) >= min(room, 4096)
    statuses = set()
    for sock in waiting:
        connection = fcgi.Connection.__new__(fcgi.Connection)
        connection.sock, connection.pending = sock, b""
        sock.settimeout(60)
        with connection:
            answer = connection.read_answer()
        assert answer.is_complete
        statuses.add(answer.status)
    assert statuses <= {404, 503} and 404 in statuses
    assert host.fetch("/fn/nobody").status == 404
    assert host.roles()["gateway"] == gateway
