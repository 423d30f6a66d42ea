"""Bytes both ways: at once, one by one, slowly, and after the client has left."""
import contextlib
import hashlib
import socket
import threading
import time
import zlib

import pytest

from lib import fcgi, host as host_room, proc, threads, web

MIB = 1 << 20
BODY = hashlib.shake_128(b"body").digest(MIB) * 64
PATTERN = bytes(ord("a") + i % 26 for i in range(65536)) * (64 * 16)


@pytest.fixture(scope="module")
def host(start, programs):
    return start.host({
        "swiss.cgi": programs.cgi, "warm.fcgi": programs.fcgi,
        "left.cgi": programs.cgi, "left/f.fcgi": programs.fcgi,
        "stays.cgi": programs.cgi, "stays/f.fcgi": programs.fcgi,
        "kind.cgi": programs.cgi, "solo.cgi": programs.cgi,
        "slow.cgi": programs.cgi, "brief.cgi": programs.cgi}, {
            "function brief": {"timeout": "1s"},
            "defaults": {"body_max": "100M", "timeout": "120s"},
            "function left": {"abort_grace": "300ms"},
            "function left/f": {"abort_grace": "300ms"},
            "function kind": {"abort_grace": "5s"},
            "function stays": {"abort_grace": "7d"},
            "function stays/f": {"abort_grace": "7d", "timeout": "3s"},
            "function solo": {"instances": "1", "abort_grace": "0"}})


@pytest.fixture(scope="module")
def nginx(start, host):
    return start.nginx(host)


FUNCTIONS = pytest.mark.parametrize("name", ["swiss", "warm"])


@FUNCTIONS
@pytest.mark.parametrize("is_reading", [True, False])
# W26
def test_64_mib_go_both_ways_at_once(host, name, is_reading):
    """With a client that reads as it writes, and with one that writes all
    before it reads anything: neither may come to a standstill."""
    request = fcgi.request_bytes(f"/fn/{name}?head&echo", BODY)
    with host.connect(timeout=60) as connection:
        if is_reading:
            sender = threading.Thread(target=connection.send, args=(request,))
            sender.start()
        else:
            connection.send(request)
        parts, length = [], 0
        while True:
            kind, _, content = connection.read_record()
            if kind == fcgi.END:
                break
            assert kind == fcgi.STDOUT
            parts.append(content)
        if is_reading:
            sender.join()
    body = b"".join(parts).partition(b"\r\n\r\n")[2]
    length = len(body)
    assert length == len(BODY)
    assert hashlib.sha256(body).digest() == hashlib.sha256(BODY).digest()


@FUNCTIONS
@pytest.mark.parametrize("port", ["plain", "kept", "stream"])
def test_a_64_mib_upload_arrives_through_nginx(nginx, name, port):
    reply = web.get(getattr(nginx, port), f"/fn/{name}?head&sum", "POST",
                    body=BODY, timeout=60)
    assert reply.text == f"length={len(BODY)} crc={zlib.crc32(BODY):08x}\n"


@FUNCTIONS
@pytest.mark.parametrize("port", ["plain", "kept", "stream"])
def test_a_64_mib_download_arrives_through_nginx(nginx, name, port):
    reply = web.get(getattr(nginx, port), f"/fn/{name}?head&out={64 * MIB}",
                    timeout=60)
    assert reply.is_whole and len(reply.body) == 64 * MIB
    assert hashlib.sha256(reply.body).digest() == \
        hashlib.sha256(PATTERN).digest()


@FUNCTIONS
# W25
def test_events_pass_one_by_one(host, nginx, name):
    url = f"/fn/{name}?field=Content-Type:+text/event-stream&end&tick=4,1000"
    reply = web.get(nginx.stream, url)
    assert reply.is_whole
    times = [when for when, piece in reply.pieces if b"tick" in piece]
    assert len(times) == 4, reply.pieces
    # kept together they would come at the end, after three
    assert times[0] < 2.5, f"the first event came after {times[0]:.2f} s"
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert all(gap > 0.1 for gap in gaps), gaps
    request = fcgi.request_bytes(url)
    with host.connect() as connection:
        started = time.monotonic()
        connection.send(request)
        connection.read_answer(stop=lambda a: b"tick 0" in a.stdout)
        assert time.monotonic() - started < 2.5


@FUNCTIONS
def test_a_slow_reader_costs_the_gateway_no_memory(host, name):
    gateway = host.roles()["gateway"]
    limit = 10 * 1024
    if host.installed.is_sanitized:
        # the sanitizer's own memory, and what it keeps of freed memory
        limit += proc.rss_kib(gateway) + 32 * 1024
    with host.connect(timeout=60) as connection:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.send(fcgi.request_bytes(f"/fn/{name}?head&out={64 * MIB}"))
        time.sleep(1.5)
        assert proc.rss_kib(gateway) < limit
        digest, taken = hashlib.sha256(), 0
        while True:
            kind, _, content = connection.read_record()
            if kind == fcgi.END:
                break
            digest.update(content)
            taken += len(content)
            if taken % (1 << 20) < len(content):
                time.sleep(0.01)
                assert proc.rss_kib(gateway) < limit
    head = taken - 64 * MIB
    assert 0 < head < 200


def test_a_slow_web_client_behind_nginx_costs_the_gateway_no_memory(host,
                                                                   nginx):
    gateway = host.roles()["gateway"]
    limit = 10 * 1024
    if host.installed.is_sanitized:
        limit += proc.rss_kib(gateway) + 32 * 1024
    with web.Client(nginx.stream, receive_buffer=32768) as client:
        client.ask(f"/fn/swiss?head&out={64 * MIB}", headers=[
            ("Connection", "close")])
        time.sleep(1)
        assert proc.rss_kib(gateway) < limit
        reply = client.read()
    assert reply.is_whole and len(reply.body) == 64 * MIB


@FUNCTIONS
@pytest.mark.parametrize("length", [str(64 * MIB), ""])
def test_a_function_that_reads_late_costs_the_gateway_no_memory(host, name,
                                                                length):
    """The body waits in the spool's file, whose size body_max bounds."""
    gateway = host.roles()["gateway"]
    limit = 10 * 1024
    if host.installed.is_sanitized:
        limit += proc.rss_kib(gateway) + 32 * 1024
    with host.connect(timeout=60) as connection:
        connection.send(fcgi.request_bytes(
            f"/fn/{name}?sleep=1000&head&sum", BODY, CONTENT_LENGTH=length))
        assert proc.rss_kib(gateway) < limit
        answer = connection.read_answer()
    assert answer.text == f"length={len(BODY)} crc={zlib.crc32(BODY):08x}\n"
    assert proc.rss_kib(gateway) < limit


@pytest.mark.parametrize("name", ["left", "left/f"])
@pytest.mark.parametrize("query", ["cpu=20000", "head&tick=1000,20",
                                   "head&out=200000000"])
# W12
def test_a_client_that_leaves_stops_the_work_after_the_grace(host, name,
                                                             query):
    before = set(host.instances())
    host.execute(f"/fn/{name}?head")  # warm: the next begins at once
    request_id = host_room.new_id()
    connection = host.connect()
    connection.send(fcgi.request_bytes(f"/fn/{name}?{query}",
                                       REQUEST_ID=request_id))
    time.sleep(0.3)
    left = time.monotonic()
    connection.close()
    record = host.books.wait_request(request_id, 15)
    took = time.monotonic() - left
    assert record["outcome"] == "aborted"
    assert took < 8, f"stopped {took:.2f} s after the client left"
    if query.startswith("cpu"):
        assert took > 0.25, "the grace was not given"
        # a busy machine gives it far less than a whole core
        assert 20000 < record["cpu_us"] < 8000000
        if name == "left/f":
            assert not host_room.wait_gone(
                set(host.instances()) - before -
                {pid for pid in host.instances()
                 if proc.program(pid) == "fcgi-host-init"})


# W12
def test_a_client_that_leaves_nginx_stops_the_work(host, nginx):
    before = len(host.books.executions("left"))
    with web.Client(nginx.stream) as client:
        client.ask("/fn/left?head&tick=1000,20")
        client.read_head()
        time.sleep(0.2)
    until = time.monotonic() + 30
    while len(host.books.executions("left")) == before:
        assert time.monotonic() < until, "no record"
        time.sleep(0.02)
    assert host.books.executions("left")[-1]["outcome"] == "aborted"


# W12
def test_abort_request_does_the_same_on_a_kept_connection(host):
    request_id = host_room.new_id()
    with host.connect() as connection:
        connection.send(fcgi.request_bytes(
            "/fn/left?err=to-be-aborted&sleep=20000", flags=fcgi.KEEP_CONN,
            REQUEST_ID=request_id))
        host.wait_log("to-be-aborted")
        connection.send(fcgi.record(fcgi.ABORT, 1))
        started = time.monotonic()
        answer = connection.read_answer()
        assert time.monotonic() - started < 10
        assert answer.is_complete
        record = host.books.wait_request(request_id)
        assert record["outcome"] == "aborted"
        connection.send(fcgi.request_bytes("/fn/left?head&raw=next",
                                           request_id=2))
        assert connection.read_answer(2).text == "next"


def test_what_ends_within_the_grace_ends_in_peace(host):
    request_id = host_room.new_id()
    connection = host.connect()
    connection.send(fcgi.request_bytes(
        "/fn/kind?err=in-peace&head&sleep=500&data=peace",
        REQUEST_ID=request_id))
    host.wait_log("in-peace")
    connection.close()
    record = host.books.wait_request(request_id)
    assert (record["outcome"], record["exit"]) == ("aborted", 0)
    host.add("look.sh", "printf 'Content-Type: text/plain\\n\\n'; "
                        "cat /data/peace\n")
    assert host.wait_served("/fn/look").text == "line\n"


# W49
def test_with_a_grace_of_seven_days_only_a_time_out_ends_the_work(host):
    """The built-in grace, two seconds, would not have been enough for either."""
    own = {}
    for name, query in (("stays", "head&sleep=2500&data=stayed"),
                        ("stays/f", "sleep=60000")):
        own[name] = host_room.new_id()
        with host.connect() as connection:
            connection.send(fcgi.request_bytes(
                f"/fn/{name}?err=runs-{name}&{query}", REQUEST_ID=own[name]))
            host.wait_log(f"runs-{name}")
    record = host.books.wait_request(own["stays"])
    assert (record["outcome"], record["exit"]) == ("aborted", 0)
    assert record["run_us"] >= 2500000
    record = host.books.wait_request(own["stays/f"])
    assert (record["outcome"], record["cause"]) == ("aborted", "deadline")
    assert 3000000 <= record["run_us"] < 30000000
    host.add("seen.sh", "printf 'Content-Type: text/plain\\n\\n'; "
                        "cat /data/stayed\n")
    assert host.wait_served("/fn/seen").text == "line\n"


def test_a_waiting_client_that_leaves_is_forgotten(host):
    with host.connect() as holder:
        holder.send(fcgi.request_bytes("/fn/solo?err=solo-is-held&sleep=20000"))
        host.wait_log("solo-is-held")
        request_id = host_room.new_id()
        connection = host.connect()
        connection.send(fcgi.request_bytes("/fn/solo?head&data=never",
                                           REQUEST_ID=request_id))
        host.wait_asked("solo", 2)
        connection.close()
        record = host.books.wait_request(request_id)
    assert record["outcome"] in ("aborted", "refused")
    assert (record["instance"], record["run_us"]) == (None, 0)
    answer, _ = host.execute("/fn/solo?head&raw=next")
    assert answer.text == "next"


@FUNCTIONS
@pytest.mark.parametrize("port", ["plain", "kept", "stream"])
# W34
def test_a_header_before_the_body_is_read_loses_nothing(nginx, name, port):
    """As git http-backend does: nginx stops sending once it has the header."""
    body = BODY[:3 * MIB]
    with web.Client(getattr(nginx, port)) as client:
        client.send(f"POST /fn/{name}?head&raw=early%0a&sleep=50&sum "
                    f"HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n".encode())
        for at in range(0, len(body), MIB):
            client.send(body[at:at + MIB])
            time.sleep(0.1)
        reply = client.read()
    assert reply.text == \
        f"early\nlength={len(body)} crc={zlib.crc32(body):08x}\n"


# W34
def test_the_answer_waits_for_the_end_of_the_body(host):
    with host.connect() as connection:
        params = fcgi.request_params("/fn/warm?head&raw=early&sum", "POST", 20)
        connection.send(fcgi.begin() + fcgi.stream(
            fcgi.PARAMS, 1, fcgi.pairs(params)) +
            fcgi.record(fcgi.STDIN, 1, b"0123456789"))
        connection.sock.settimeout(0.4)
        with pytest.raises(TimeoutError):
            connection.read_record()
        connection.sock.settimeout(20)
        connection.send(fcgi.record(fcgi.STDIN, 1, b"0123456789") +
                        fcgi.record(fcgi.STDIN, 1))
        answer = connection.read_answer()
    assert answer.text.startswith("early" + "length=20 ")


def test_a_chunked_upload_without_a_length_arrives_unbuffered(nginx):
    body = BODY[:MIB]
    with web.Client(nginx.stream) as client:
        client.send(b"POST /fn/slow?head&env=CONTENT_LENGTH&sum HTTP/1.1\r\n"
                    b"Host: x\r\nConnection: close\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(body), 100000):
            client.send_chunk(body[at:at + 100000])
            time.sleep(0.02)
        client.send(b"0\r\n\r\n")
        reply = client.read()
    assert reply.text == (f"CONTENT_LENGTH={len(body)}\nlength={len(body)} "
                          f"crc={zlib.crc32(body):08x}\n")


# W33
def test_a_trickling_upload_takes_no_instance(host):
    """`solo` has one instance; while one client's body without a length
    trickles in, another is served."""
    with host.connect() as slow:
        params = fcgi.request_params("/fn/solo?head&sum", "POST")
        slow.send(fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1,
                                             fcgi.pairs(params)) +
                  fcgi.record(fcgi.STDIN, 1, b"abc"))
        time.sleep(0.1)
        started = time.monotonic()
        answer, _ = host.execute("/fn/solo?head&raw=served")
        assert answer.text == "served"
        assert time.monotonic() - started < 10
        slow.send(fcgi.record(fcgi.STDIN, 1, b"def") +
                  fcgi.record(fcgi.STDIN, 1))
        assert slow.read_answer().text.startswith("length=6 ")


def test_a_body_without_a_length_has_a_deadline_in_total(host):
    """Each piece comes in time, the whole does not."""
    params = {**fcgi.request_params("/fn/brief?head&sum", "POST"),
              "REQUEST_ID": "trickle"}
    with host.connect() as slow:
        started = time.monotonic()
        slow.send(fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1,
                                             fcgi.pairs(params)))
        record = None
        while record is None and time.monotonic() - started < 30:
            with contextlib.suppress(BrokenPipeError):  # it is over
                slow.send(fcgi.record(fcgi.STDIN, 1, b"x"))
            time.sleep(0.2)
            record = next((r for r in host.books.all()
                           if r.get("request_id") == "trickle"), None)
        assert record is not None, "it may trickle for ever"
        assert (record["outcome"], record["status"]) == ("refused", 408)
        assert 1000000 <= record["queue_us"] < 20000000
        assert slow.read_answer().status == 408
