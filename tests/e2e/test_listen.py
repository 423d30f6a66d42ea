"""Where the host listens, for whom, and how many may come at a time."""
import grp
import os
import signal
import socket
import stat
import threading
import time

import pytest

from lib import fcgi, servers, web


def test_the_socket_has_the_mode_and_group_that_were_asked_for(start_once,
                                                               programs):
    host = start_once.host({"a.cgi": programs.cgi}, {
        "host": {"listen_mode": "0660", "listen_group": "www-data"}})
    facts = os.stat(host.socket)
    assert stat.S_IMODE(facts.st_mode) == 0o660
    assert facts.st_gid == grp.getgrnam("www-data").gr_gid
    # nginx's worker runs as www-data
    nginx = start_once.nginx(host)
    assert web.get(nginx.plain, "/fn/a?head&raw=x").text == "x"


def test_several_sockets_serve_the_same_functions(start_once, programs):
    host = start_once.host({"a.cgi": programs.cgi}, is_started=False)
    other = str(host.run_dir / "other")
    host.configure({"host": {"listen": f"{host.socket} {other}"}})
    host.start()
    for path in (host.socket, other):
        assert fcgi.fetch(path, "/fn/a?head&raw=x").text == "x"


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
def test_tcp_serves_once_it_is_allowed(start_once, programs, address):
    if address == "[::1]" and not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("NOT RUN: this machine has no IPv6")
    host = start_once.host({"a.cgi": programs.cgi}, is_started=False)
    port, = servers.free_ports(1)
    host.configure({"host": {"listen": f"{host.socket} {address}:{port}"}})
    done = host.verb("check")
    assert done.returncode == 2 and "allow_tcp" in done.stdout + done.stderr
    host.configure({"host": {"allow_tcp": "yes"}})
    host.start()
    nginx = start_once.nginx(host, plain_more=f"""
        location /fn/tcp {{
            include /etc/nginx/fastcgi_params;
            fastcgi_param FCGI_HOST_FUNCTION a;
            fastcgi_pass {address}:{port};
        }}""")
    reply = web.get(nginx.plain, "/fn/tcp?head&sum", "POST", body=b"x" * 99999)
    assert reply.text.startswith("length=99999 ")
    if address == "127.0.0.1":
        answer = fcgi.fetch((address, port), "/fn/a?head&out=3000000")
        assert len(answer.body) == 3000000 and answer.is_complete


def test_over_tcp_a_client_that_leaves_stops_the_work(start_once, programs):
    port, = servers.free_ports(1)
    host = start_once.host({"a.cgi": programs.cgi}, {
        "host": {"allow_tcp": "yes", "listen": f"127.0.0.1:{port}"},
        "defaults": {"abort_grace": "100ms"}})
    for is_reset in (False, True):
        connection = fcgi.Connection(("127.0.0.1", port))
        if is_reset:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                       b"\1\0\0\0\0\0\0\0")
        connection.send(fcgi.request_bytes(
            f"/fn/a?err=begun-{is_reset}&sleep=30000",
            REQUEST_ID=f"left-{is_reset}"))
        host.wait_log(f"begun-{is_reset}")
        connection.close()
        record = host.books.wait_request(f"left-{is_reset}")
        assert record["outcome"] == "aborted"


# W37
def test_more_connections_than_allowed_are_refused_in_words(start_once,
                                                            programs):
    host = start_once.host({"a.cgi": programs.cgi}, {
        "host": {"max_connections": "20"}})
    busy = [host.connect(timeout=5) for _ in range(20)]
    try:
        # a silent one would give way, these wait for an answer
        for connection in busy:
            connection.send(fcgi.request_bytes("/fn/a?sleep=20000"))
        for connection in busy:
            connection.wait_taken()
        answer = host.fetch("/fn/a?head&raw=x", timeout=15)
        assert answer.is_complete and answer.status == 503, answer
        assert answer.protocol_status == fcgi.REQUEST_COMPLETE
        assert answer.header("Retry-After")
    finally:
        for connection in busy:
            connection.close()
    assert host.wait_served("/fn/a?head&raw=x").text == "x"


def test_with_sync_every_answer_waits_for_the_disk(start_once, programs):
    host = start_once.host({"a.cgi": programs.cgi}, {"host": {"sync": "yes"}})
    for lap in range(20):
        answer = host.fetch(f"/fn/a?head&raw={lap}", REQUEST_ID=f"sync-{lap}")
        assert answer.text == str(lap)
        assert host.books.holds(f"sync-{lap}")


def ask_from(moment, host, url, found):
    """One request, as soon as somebody listens."""
    while moment() and not found:
        try:
            found.append(host.fetch(url))
        except OSError:
            time.sleep(0.001)


def test_what_comes_before_the_functions_are_known_waits_for_them(start_once,
                                                                  programs):
    """At the start, and when a gateway was killed: never a 404."""
    host = start_once.host(
        {"good.cgi": programs.cgi,
         **{f"f{n:04}.sh": "#!/bin/sh\n" for n in range(3000)},
         "zzz.cgi": programs.cgi}, is_started=False)
    found = []
    asker = threading.Thread(target=ask_from, args=(
        lambda: True, host, "/fn/zzz?head&raw=early", found))
    asker.start()
    host.start()
    asker.join(20)
    assert found[0].status == 200 and found[0].text == "early"
    for n in range(5):
        os.kill(host.roles()["gateway"], signal.SIGKILL)
        found, until = [], time.monotonic() + 10
        ask_from(lambda: time.monotonic() < until, host,
                 f"/fn/zzz?head&raw={n}", found)
        assert found[0].status == 200, found[0] # or cut by the kill
        host.wait_served("/fn/zzz?head&raw=x")
