"""FastCGI as hostile or odd peers speak it."""
import os
import random
import re
import struct
import subprocess
import threading
import time

import pytest

from lib import fcgi, host as host_room, leaks, proc
from lib import programs as programs_room

pytestmark = pytest.mark.any_user


@pytest.fixture(scope="module")
def host(start, programs):
    return start.host({"swiss.cgi": programs.cgi, "warm.fcgi": programs.fcgi},
                      {"host": {"max_prepared": "0"},
                       "defaults": {"idle": "1s"}})


@pytest.fixture(autouse=True)
def the_host_serves_on(host):
    yield
    answer = host.fetch("/fn/swiss?head&raw=still+here")
    assert answer.text == "still here"
    assert set(host.roles()) == {"spawner", "gateway", "scanner"}


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind(host):
    host.fetch("/fn/swiss?head")
    host.fetch("/fn/warm?head")
    gateway = host.roles()["gateway"]
    # whether a connection to a program is kept depends on what it did
    host.wait_instances(0)
    before = leaks.at_rest(host)
    yield
    host.wait_instances(0)
    assert host.roles()["gateway"] == gateway, "the gateway was restarted"
    leaks.settle(host, before, 20)


REQUEST = fcgi.request_bytes("/fn/swiss?head&sum", b"body bytes",
                             HTTP_X_LONG="v" * 300)
GOOD = b"Status: 200"


def test_a_request_may_be_cut_at_every_byte(host):
    for at in range(1, len(REQUEST)):
        with host.connect() as connection:
            connection.send(REQUEST[:at])
            connection.send(REQUEST[at:])
            answer = connection.read_answer()
        assert answer.text.startswith("length=10 "), (at, answer)
        assert answer.is_complete


def test_a_request_may_come_byte_by_byte(host):
    with host.connect() as connection:
        connection.send_split(REQUEST, pause=0.0005)
        assert connection.read_answer().text.startswith("length=10 ")


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 8, 127, 128, 65535])
# W1
def test_streams_mean_the_same_however_they_are_cut(host, chunk):
    params = fcgi.request_params("/fn/swiss?head&sum&env=HTTP_X_LONG", "POST",
                                 1000, HTTP_X_LONG="v" * 500)
    with host.connect() as connection:
        connection.send(
            fcgi.begin() +
            fcgi.stream(fcgi.PARAMS, 1, fcgi.pairs(params), chunk) +
            fcgi.stream(fcgi.STDIN, 1, b"b" * 1000, chunk))
        answer = connection.read_answer()
    assert answer.text.startswith("length=1000 ")
    assert answer.text.endswith("HTTP_X_LONG=" + "v" * 500 + "\n")


@pytest.mark.parametrize("chunk", [1, 5, 65535])
# W2
def test_lengths_of_four_bytes_mean_the_same_as_of_one(host, chunk):
    params = fcgi.request_params("/fn/swiss?head&sum&env=HTTP_A", "POST", 4,
                                 HTTP_A="short")
    pairs = b"".join(struct.pack("!II", len(name) | 1 << 31,
                                 len(value) | 1 << 31) +
                     (name + value).encode() for name, value in params.items())
    with host.connect() as connection:
        connection.send(fcgi.begin() +
                        fcgi.stream(fcgi.PARAMS, 1, pairs, chunk) +
                        fcgi.stream(fcgi.STDIN, 1, b"four", chunk))
        answer = connection.read_answer()
    assert answer.text.startswith("length=4 ")
    assert answer.text.endswith("HTTP_A=short\n")


# W2
def test_a_claim_of_two_gigabytes_costs_the_gateway_nothing(host):
    gateway = host.roles()["gateway"]

    def peak_kib():
        return int(proc.status(gateway)["VmPeak"].split()[0])

    before = peak_kib()
    for lengths in (b"\xff" * 8, b"\1\xff\xff\xff\xff", b"\xff" * 4 + b"\1"):
        with host.connect() as connection:
            connection.send(fcgi.begin() + fcgi.stream(
                fcgi.PARAMS, 1, lengths + b"n" * 3000))
            answer = connection.read_answer()
            assert (answer.status, answer.is_complete) == (431, True)
    if not host.installed.is_sanitized:
        assert peak_kib() < before + 1024


@pytest.mark.parametrize("padding", [1, 7, 255])
# W4
def test_padding_is_skipped(host, padding):
    params = fcgi.pairs(fcgi.request_params("/fn/swiss?head&sum", "POST", 4))
    with host.connect() as connection:
        connection.send(
            fcgi.record(fcgi.BEGIN, 1, struct.pack("!HB5x", 1, 0), padding) +
            fcgi.record(fcgi.PARAMS, 1, params, padding) +
            fcgi.record(fcgi.PARAMS, 1, b"", padding) +
            fcgi.record(fcgi.STDIN, 1, b"four", padding) +
            fcgi.record(fcgi.STDIN, 1, b"", padding))
        assert connection.read_answer().text.startswith("length=4 ")


@pytest.mark.parametrize("request_id", [1, 2, 255, 256, 65535])
def test_any_request_id_is_good(host, request_id):
    with host.connect() as connection:
        connection.send(fcgi.request_bytes("/fn/swiss?head&raw=x",
                                           request_id=request_id))
        assert connection.read_answer(request_id).text == "x"


def garbage():
    """Bytes that are no FastCGI, always the same ones."""
    rng = random.Random(4)
    yield b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    yield b"\0" * 64
    yield b"\xff" * 4096
    yield fcgi.record(fcgi.BEGIN, 1, b"", version=2)
    yield fcgi.record(fcgi.BEGIN, 1, b"\0\1\0")
    yield fcgi.record(fcgi.BEGIN, 1, b"\0" * 200)
    yield fcgi.record(fcgi.BEGIN, 0, struct.pack("!HB5x", 1, 0))
    yield fcgi.begin() + fcgi.record(fcgi.PARAMS, 1, b"\xff\xff\xff\xff" * 9)
    yield fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, b"\x05\x05abc")
    yield fcgi.begin() + fcgi.stream(
        fcgi.PARAMS, 1, b"\x80\xff\xff\xff\x01" + b"n" * 60000)
    for _ in range(40):
        yield rng.randbytes(rng.randint(8, 3000))
    for _ in range(40):
        broken = bytearray(REQUEST)
        for _ in range(rng.randint(1, 6)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        yield bytes(broken)


def test_garbage_harms_nobody(host):
    for data in garbage():
        with host.connect(timeout=0.15) as connection:
            try:
                connection.send(data)
                while connection.read_record():
                    pass
            except (TimeoutError, ConnectionError, AssertionError):
                pass
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"


def bad_peers(host):
    status = host.verb("status", "--json")
    assert status.returncode == 0, status.stderr
    found = re.search(r'"bad_peers": *(\d+)', status.stdout)
    assert found, status.stdout
    return int(found[1])


# W40
def test_a_malformed_peer_is_closed_and_counted(host):
    before = bad_peers(host)
    with host.connect() as connection:
        connection.send(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.is_closed_by_peer()
    assert bad_peers(host) == before + 1


MALFORMED = {
    "a pair is cut": b"\5\5NAMEval", "a length is cut": b"\5\x80\0",
    "no name": b"\0\1x", "a NUL in a name": b"\3\1A\0Bx",
    "= in a name": b"\3\1A=Bx", "a NUL in a value": b"\1\3Aa\0b"}


@pytest.mark.parametrize("what", MALFORMED)
# W40
def test_malformed_params_are_a_bad_request_and_no_execution(host, what):
    """Behind those of a good request; the connection stays in step."""
    request_id = host_room.new_id()
    params = fcgi.pairs(fcgi.request_params("/fn/swiss?head",
                                            REQUEST_ID=request_id))
    with host.connect() as connection:
        connection.send(
            fcgi.begin(flags=fcgi.KEEP_CONN) +
            fcgi.stream(fcgi.PARAMS, 1, params + MALFORMED[what]) +
            fcgi.record(fcgi.STDIN, 1))
        answer = connection.read_answer()
        assert (answer.status, answer.is_complete) == (400, True)
        connection.send(fcgi.request_bytes("/fn/swiss?head&raw=x"))
        assert connection.read_answer().text == "x"
    assert not host.books.holds(request_id)


TOO_MUCH = {
    "bytes": {f"HTTP_X_{n}": "v" * 1000 for n in range(70)},
    "one value": {"HTTP_X": "v" * 66000},
    "pairs": {f"X{n}": "" for n in range(500)}}


@pytest.mark.parametrize("what", TOO_MUCH)
# W3
def test_params_over_their_bound_are_refused_in_words(host, what):
    """64 KiB and 512 pairs, those that every request has among them."""
    with host.connect() as connection:
        connection.send(fcgi.request_bytes(
            "/fn/swiss?head", flags=fcgi.KEEP_CONN, **TOO_MUCH[what]))
        answer = connection.read_answer()
        assert (answer.status, answer.is_complete) == (431, True)
        connection.send(fcgi.request_bytes("/fn/swiss?head&raw=x", **{
            name: value for name, value in [*TOO_MUCH[what].items()][:60]
            if len(value) < 2000}))
        assert connection.read_answer().text == "x"


def test_a_nul_in_a_param_never_reaches_a_function(host):
    answer = host.fetch("/fn/swiss?head&environ",
                        HTTP_X_NUL="before\0LD_PRELOAD=/tmp/x")
    assert (answer.status, answer.is_complete) == (400, True)
    answer = host.fetch("/fn/swiss\0/../../etc?head")
    assert (answer.status, answer.is_complete) == (400, True)


# W7
def test_get_values_is_answered(host):
    with host.connect() as connection:
        connection.send(fcgi.record(fcgi.GET_VALUES, 0, fcgi.pairs(
            {"FCGI_MAX_CONNS": "", "FCGI_MAX_REQS": "", "FCGI_MPXS_CONNS": "",
             "FCGI_UNHEARD_OF": ""})))
        kind, request_id, content = connection.read_record()
        values = fcgi.read_pairs(content)
        assert (kind, request_id) == (fcgi.GET_VALUES_RESULT, 0)
        assert values[b"FCGI_MPXS_CONNS"] == b"0"
        assert int(values[b"FCGI_MAX_CONNS"]) > 0
        assert int(values[b"FCGI_MAX_REQS"]) > 0
        assert b"FCGI_UNHEARD_OF" not in values
        connection.send(fcgi.request_bytes("/fn/swiss?head&raw=x"))
        assert connection.read_answer().text == "x"


# W7
def test_a_flood_of_get_values_is_bounded(host):
    """Who asks without reading is not read himself; nothing is lost."""
    ask = fcgi.record(fcgi.GET_VALUES, 0, fcgi.pairs(
        {"FCGI_MAX_CONNS": "", "FCGI_MAX_REQS": "", "FCGI_MPXS_CONNS": ""}))
    laps, sent, told = 200000, 0, 0
    gateway = host.roles()["gateway"]
    before = proc.rss_kib(gateway)
    with host.connect(timeout=1) as connection:
        flood = memoryview(ask * laps)
        with pytest.raises(TimeoutError):
            while sent < len(flood):
                sent += connection.sock.send(flood[sent:])
        assert 0 < sent < len(flood)
        assert proc.rss_kib(gateway) < before + 4 * 1024
        connection.sock.settimeout(20)
        thread = threading.Thread(target=connection.sock.sendall, args=(
            flood[sent:sent + 20000 * len(ask) - sent % len(ask)],))
        thread.start()
        while told < sent // len(ask) + 20000:
            kind, request_id, content = connection.read_record()
            assert (kind, request_id) == (fcgi.GET_VALUES_RESULT, 0)
            assert len(content) < 100
            told += 1
        thread.join()
        connection.send(fcgi.request_bytes("/fn/swiss?head&raw=x"))
        assert connection.read_answer().text == "x"


# W7
def test_whatever_is_asked_is_answered_shortly(host):
    for asked in (b"", b"\0\0", fcgi.pairs({"FCGI_MAX_CONNS": ""}) * 3000,
                  fcgi.pairs({f"NOBODY_KNOWS_{n}": "x" * 100
                              for n in range(500)}),
                  fcgi.pairs({"A" * 30000: "v" * 30000,
                              "FCGI_MAX_REQS": "1"})):
        with host.connect() as connection:
            connection.send(fcgi.record(fcgi.GET_VALUES, 0, asked, 255))
            kind, request_id, content = connection.read_record()
            assert (kind, request_id) == (fcgi.GET_VALUES_RESULT, 0)
            assert len(fcgi.read_pairs(content)) == asked.count(
                b"FCGI_MAX_REQS") + (b"FCGI_MAX_CONNS" in asked)
            connection.send(fcgi.request_bytes("/fn/swiss?head&raw=x"))
            assert connection.read_answer().text == "x"


# W6
def test_an_unknown_management_record_is_answered_so(host):
    with host.connect() as connection:
        connection.send(fcgi.record(100, 0, b"what"))
        kind, request_id, content = connection.read_record()
        assert (kind, request_id, content[0]) == (fcgi.UNKNOWN_TYPE, 0, 100)
        connection.send(fcgi.request_bytes("/fn/swiss?head&raw=x"))
        assert connection.read_answer().text == "x"


# W9
def test_a_second_begin_is_told_that_we_do_not_multiplex(host):
    with host.connect() as connection:
        connection.send(fcgi.request_bytes("/fn/swiss?sleep=200&head&raw=one",
                                           flags=fcgi.KEEP_CONN) +
                        fcgi.begin(2, flags=fcgi.KEEP_CONN))
        kind, request_id, content = connection.read_record()
        assert (kind, request_id) == (fcgi.END, 2)
        assert content[4] == fcgi.CANT_MPX_CONN
        answer = connection.read_answer(1)
        assert answer.text == "one" and answer.is_complete
        connection.send(fcgi.request_bytes("/fn/swiss?head&raw=three",
                                           request_id=3))
        assert connection.read_answer(3).text == "three"


@pytest.mark.parametrize("role", [fcgi.FILTER, 0, 4, 65535])
# W10
def test_an_unknown_role_is_told_so(host, role):
    with host.connect() as connection:
        connection.send(fcgi.begin(1, role, fcgi.KEEP_CONN))
        answer = connection.read_answer()
        assert answer.protocol_status == fcgi.UNKNOWN_ROLE
        connection.send(fcgi.request_bytes("/fn/swiss?head&raw=x",
                                           request_id=2))
        assert connection.read_answer(2).text == "x"


# W5
def test_unknown_request_ids_are_ignored(host):
    with host.connect() as connection:
        connection.send(fcgi.record(fcgi.STDIN, 7, b"lost") +
                        fcgi.record(fcgi.PARAMS, 7, b"lost") +
                        fcgi.record(fcgi.ABORT, 7))
        request = fcgi.request_bytes("/fn/swiss?head&sum", b"mine")
        connection.send(request[:16] + fcgi.record(fcgi.STDIN, 9, b"other") +
                        request[16:])
        assert connection.read_answer().text.startswith("length=4 ")


@pytest.mark.parametrize("kind", [fcgi.PARAMS, fcgi.STDIN, fcgi.DATA,
                                  fcgi.ABORT, fcgi.END, fcgi.STDOUT, 77])
@pytest.mark.parametrize("name", ["swiss", "warm"])
# W5
def test_records_of_others_between_all_of_ones_own_are_ignored(host, name,
                                                               kind):
    """With content, and empty, which ends a stream."""
    request = fcgi.request_bytes(f"/fn/{name}?head&env=HTTP_A&sum", b"mine",
                                 request_id=258, HTTP_A="b")
    other = b"".join(fcgi.record(kind, other_id, content, 5)
                     for other_id in (1, 2, 259, 65535)
                     for content in (b"\6\1HTTP_Ax", b""))
    with host.connect() as connection:
        connection.send(fcgi.between(request, other))
        answer = connection.read_answer(258)
    assert answer.text.startswith("HTTP_A=b\nlength=4 "), answer
    assert answer.is_complete


@pytest.mark.parametrize("name", ["swiss", "warm"])
# W9
def test_a_second_begin_of_the_same_id_changes_nothing_in_the_first(host, name):
    """Another answer to it would end the request that runs."""
    request = fcgi.request_bytes(f"/fn/{name}?head&sum", b"mine",
                                 flags=fcgi.KEEP_CONN)
    with host.connect() as connection:
        connection.send(request[:16] + fcgi.between(request[16:],
                                                    fcgi.begin(1)))
        answer = connection.read_answer()
        assert answer.text.startswith("length=4 ") and answer.is_complete


def test_a_kept_connection_serves_many(host):
    with host.connect() as connection:
        for lap in range(1, 101):
            connection.send(fcgi.request_bytes(
                f"/fn/warm?head&raw={lap}", request_id=lap,
                flags=fcgi.KEEP_CONN))
            assert connection.read_answer(lap).text == str(lap)


def test_without_keep_conn_the_host_closes_after_the_answer(host):
    with host.connect() as connection:
        connection.send(fcgi.request_bytes("/fn/swiss?head&raw=x"))
        assert connection.read_answer().is_complete
        assert connection.is_closed_by_peer()


def pipelined(name, ids, has_length):
    """Requests in one piece, each with a body and a REQUEST_ID of its own."""
    own = [host_room.new_id() for _ in ids]
    body = [f"body of {n}".encode() * 20 for n in range(len(ids))]
    return own, body, b"".join(fcgi.request_bytes(
        f"/fn/{name}?sleep=200&head&echo", body[n], one, fcgi.KEEP_CONN,
        REQUEST_ID=own[n], CONTENT_LENGTH=str(len(body[n]) * has_length or ""))
        for n, one in enumerate(ids))


@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.parametrize("name", ["swiss", "warm"])
# W9
def test_pipelined_requests_of_one_id_get_the_first_answer_and_the_end(
        host, name, has_length):
    """Were a later one answered it would be taken for the second's."""
    own, body, requests = pipelined(name, [1] * 5, has_length)
    with host.connect() as connection:
        connection.send(requests)
        answer = connection.read_answer()
        assert (answer.body, answer.is_complete) == (body[0], True)
        assert connection.is_closed_by_peer()
    assert host.books.wait_request(own[0])["bytes_in"] == len(body[0])
    host.execute(f"/fn/{name}?head")  # behind which theirs would stand
    assert not any(host.books.holds(one) for one in own[1:])


@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.parametrize("name", ["swiss", "warm"])
# W9
def test_pipelined_requests_of_other_ids_are_told_so_and_may_come_again(
        host, name, has_length):
    ids = [3, 1, 65535, 4]
    own, body, requests = pipelined(name, ids, has_length)
    with host.connect() as connection:
        connection.send(requests)
        for one in ids[1:]:
            kind, request_id, content = connection.read_record()
            assert (kind, request_id, content[4]) == (
                fcgi.END, one, fcgi.CANT_MPX_CONN)
        answer = connection.read_answer(ids[0])
        assert (answer.body, answer.is_complete) == (body[0], True)
        connection.send(fcgi.request_bytes(f"/fn/{name}?head&echo", body[1],
                                           ids[1], REQUEST_ID=own[1]))
        assert connection.read_answer(ids[1]).body == body[1]
    assert host.books.wait_request(own[1])["outcome"] == "ok"
    assert not any(host.books.holds(one) for one in own[2:])


# W35
def test_a_half_close_after_the_request_still_gets_its_answer(host):
    request_id = host_room.new_id()
    with host.connect() as connection:
        connection.send(fcgi.request_bytes("/fn/swiss?sleep=300&head&raw=x",
                                           REQUEST_ID=request_id))
        connection.sock.shutdown(1)
        answer = connection.read_answer()
    assert (answer.text, answer.is_complete) == ("x", True)
    assert host.books.wait_request(request_id)["outcome"] == "ok"


def test_an_end_in_the_middle_of_a_request_completes_nothing(host):
    """Before the params are whole there is no execution, and no record; later
    it is aborted."""
    request_id = host_room.new_id()
    request = fcgi.request_bytes("/fn/swiss?head&sum", b"body bytes",
                                 REQUEST_ID=request_id)
    body = request.index(b"body bytes") - 8
    for at in (4, 16, 40, body - 8):
        with host.connect() as connection:
            connection.send(request[:at])
            connection.sock.shutdown(1)
            assert connection.is_closed_by_peer()
    assert not host.books.holds(request_id)
    for at in (body, body + 8, body + 12, body + 18, body + 22):
        before = len(host.books.executions("swiss"))
        with host.connect() as connection:
            connection.send(request[:at])
            connection.sock.shutdown(1)
            assert not connection.read_answer().is_complete
        host.books.wait(lambda _, n=before: len(
            host.books.executions("swiss")) > n)
        assert host.books.executions("swiss")[-1]["outcome"] == "aborted"


@pytest.mark.parametrize("length,body", [(20, b"short"), (3, b"too long")])
@pytest.mark.parametrize("name", ["swiss", "warm"])
# W14
def test_a_body_of_another_length_is_a_bad_request(host, name, length, body):
    request_id = host_room.new_id()
    answer = host.fetch(f"/fn/{name}?head&sum", body, REQUEST_ID=request_id,
                        CONTENT_LENGTH=str(length))
    assert answer.status == 400 or not answer.is_complete, answer
    record = host.books.wait_request(request_id)
    assert record["outcome"] != "ok"


@pytest.mark.parametrize("name", ["swiss", "warm"])
# W14
def test_a_body_that_is_too_long_is_refused_before_its_end(host, name):
    request = fcgi.request_bytes(f"/fn/{name}?head&sum", b"four",
                                 flags=fcgi.KEEP_CONN)[:-8]
    with host.connect() as connection:
        connection.send(request + fcgi.record(fcgi.STDIN, 1, b"!"))
        answer = connection.read_answer()
    assert (answer.status, answer.is_complete) == (400, True)
    assert "longer than CONTENT_LENGTH" in answer.text


@pytest.mark.parametrize("length", ["-2", "-", "-1 ", "--1", "abc", "1e3", "99999999999999999999",
                                    "0x10", "5 5"])
def test_a_length_that_is_no_number_is_a_bad_request(host, length):
    answer = host.fetch("/fn/swiss?head&sum", b"x" * 16, CONTENT_LENGTH=length)
    assert answer.is_complete and answer.status in (400, 413)


@pytest.mark.parametrize("name", ["swiss", "warm"])
def test_a_length_of_minus_one_is_none(host, name):
    """As Caddy says it."""
    answer = host.fetch(f"/fn/{name}?head&env=CONTENT_LENGTH&sum", b"x" * 16,
                        CONTENT_LENGTH="-1")
    length = "16" if name == "swiss" else "(unset)"
    assert answer.text.startswith(f"CONTENT_LENGTH={length}\nlength=16 ")


@pytest.mark.parametrize("name", ["swiss", "warm"])
# W12
def test_an_abort_behind_any_record_ends_the_request_and_no_other(host, name):
    """The connection stays: the peer said itself that no more of it comes."""
    request = fcgi.request_bytes(f"/fn/{name}?sleep=20000", b"x" * 300,
                                 flags=fcgi.KEEP_CONN)
    records = fcgi.between(request, b"|cut|").split(b"|cut|")[1:-1]
    assert b"".join(records) == request and len(records) == 5
    with host.connect() as connection:
        for count in range(1, 6):
            connection.send(b"".join(records[:count]) +
                            fcgi.record(fcgi.ABORT, 1, b"", 7))
            answer = connection.read_answer()
            assert answer.is_complete and answer.stdout == b""
            connection.send(b"".join(records[count:]) +
                            fcgi.record(fcgi.ABORT, 1))
            connection.send(fcgi.request_bytes(
                f"/fn/{name}?head&raw=next&sum", b"four", request_id=2,
                flags=fcgi.KEEP_CONN))
            assert connection.read_answer(2).text.startswith("nextlength=4 ")


def test_an_abort_before_the_params_are_whole_ends_the_request(host):
    with host.connect() as connection:
        connection.send(fcgi.begin(1, flags=fcgi.KEEP_CONN) +
                        fcgi.record(fcgi.PARAMS, 1, b"\x01") +
                        fcgi.record(fcgi.ABORT, 1))
        assert connection.read_answer().is_complete


# W45
def test_silent_connections_hold_nobody_up(host):
    silent = [host.connect() for _ in range(200)]
    try:
        for connection in silent[::2]:
            connection.send(fcgi.begin())
        started = time.monotonic()
        assert host.fetch("/fn/swiss?head&raw=x").text == "x"
        assert time.monotonic() - started < 10
    finally:
        for connection in silent:
            connection.close()


def cgi_fcgi(host, function, body=b"", **env):
    command, = programs_room.need("cgi-fcgi")
    return subprocess.run(
        [command, "-bind", "-connect", host.socket], input=body, timeout=20,
        stdout=subprocess.PIPE, check=True, env={
            **fcgi.request_params(f"/fn/{function}",
                                  "POST" if body else "GET", len(body)),
            **env}).stdout


@pytest.mark.parametrize("name", ["swiss", "warm"])
def test_cgi_fcgi_is_served_as_an_independent_client(host, name):
    """Its own reads are of 8192 bytes, and where one of them ends within the
    head of a record it fails (exit 254, libfcgi-bin 2.4.2, whatever the records
    are): so the answer is one that fits into the first."""
    request_id = host_room.new_id()
    out = cgi_fcgi(host, name, QUERY_STRING="head&raw=for+cgi-fcgi",
                   REQUEST_ID=request_id)
    assert out.endswith(b"\r\n\r\nfor cgi-fcgi"), out
    assert host.books.wait_request(request_id)["status"] == 200
    body = os.urandom(7500)
    out = cgi_fcgi(host, name, body, QUERY_STRING="head&echo")
    assert out.partition(b"\r\n\r\n")[2] == body
    out = cgi_fcgi(host, name, os.urandom(200000), QUERY_STRING="head&sum")
    assert b"\r\n\r\nlength=200000 crc=" in out
