"""The wire as functions see it: what the host sends a FastCGI program, which
descriptors and which environment a program has, and whom it waits for."""
import time

import pytest

from lib import fcgi, host as host_room, proc, threads

pytestmark = pytest.mark.any_user


@pytest.fixture(scope="module")
def host(start, programs):
    wire = programs.wire
    return start.host({
        "wire.fcgi": wire, "solo.fcgi": wire,
        "swiss.cgi": programs.cgi, "warm.fcgi": programs.fcgi,
        "family.fcgi": programs.fcgi, "hang.cgi": programs.cgi,
        "hang/f.fcgi": programs.fcgi}, {
            "function solo": {"instances": "1"},
            "function family": {"idle": "1500ms"},
            "defaults": {"env.GREETING": "good day"}})


def facts(answer):
    """The lines NAME=VALUE of an answer; `fault` lines are none at all."""
    assert (answer.status, answer.is_complete) == (200, True), answer
    assert "fault=" not in answer.text, answer.text
    return dict(line.split("=", 1) for line in answer.text.splitlines())


MANAGEMENT = {
    "an unknown type": fcgi.record(100, 0, b"\1\1ab" * 20, 3),
    "GET_VALUES": fcgi.record(fcgi.GET_VALUES, 0,
                              fcgi.pairs({"FCGI_MAX_REQS": ""}), 7),
    "BEGIN_REQUEST": fcgi.begin(0),
    "PARAMS": fcgi.record(fcgi.PARAMS, 0, b"\1\1ab"),
    "STDIN": fcgi.record(fcgi.STDIN, 0, b"evil"),
    "the end of STDIN": fcgi.record(fcgi.STDIN, 0),
    "DATA": fcgi.record(fcgi.DATA, 0, b"evil", 255),
    "ABORT_REQUEST": fcgi.record(fcgi.ABORT, 0)}


@pytest.mark.parametrize("what", MANAGEMENT)
@pytest.mark.parametrize("name", ["wire", "swiss"])
# W8
def test_a_management_record_is_no_part_of_a_request(host, name, what):
    request = fcgi.request_bytes(f"/fn/{name}?head&env=CONTENT_LENGTH&sum",
                                 b"four", flags=fcgi.KEEP_CONN)
    answer, told = fcgi.Answer(), 0
    with host.connect() as connection:
        connection.send(fcgi.between(request, MANAGEMENT[what]))
        while not answer.is_complete or told < 6:
            got = connection.read_record()
            assert got, "the host hung up"
            kind, request_id, content = got
            if request_id == 0:
                told += 1
                assert kind == (
                    fcgi.GET_VALUES_RESULT if what == "GET_VALUES" else
                    fcgi.UNKNOWN_TYPE)
            elif kind == fcgi.STDOUT:
                answer.stdout += content
            else:
                assert kind == fcgi.END
                answer.is_complete = True
    if name == "swiss":
        assert answer.text.startswith("CONTENT_LENGTH=4\nlength=4 ")
    else:
        seen = facts(answer)
        assert (seen["records"], seen["stdin"]) == ("1,4,4,5,5", "4")


@pytest.mark.parametrize("size", [0, 1, 65535, 200000])
# W4
# W8
# W48
def test_a_program_is_sent_what_the_specification_draws(host, size):
    seen = facts(host.fetch("/fn/wire", b"x" * size))
    assert seen["records"] == ("1,4,4,5,5" if size else "1,4,4,5")
    assert seen["role"] == "1"
    # FCGI_KEEP_CONN, never with a body, and not where a program misbehaved
    assert seen["flags"] in (("0",) if size else ("0", "1"))
    assert seen["stdin"] == str(size)
    assert seen["padding"] == "0"


# W16
# W50
def test_a_program_has_one_connection_at_a_time(host):
    """Six want it at once; none of them waits in the program's backlog."""
    seen = [facts(answer) for answer in
            threads.all_of(host.fetch, ["/fn/solo?wait=100"] * 6)]
    assert [one["waiting"] for one in seen] == ["0"] * 6
    # libfcgi hangs up on who is silent for two seconds
    assert all(int(one["first_ms"]) < 1000 for one in seen), seen


def fds(answer):
    """{"fd0": ["listening", "ENOTCONN"], …}"""
    seen = facts(answer)
    return {name: seen[name].split() for name in ("fd0", "fd1", "fd2",
                                                  "others")}


# W15
def test_a_fastcgi_program_listens_on_0_and_has_pipes_of_its_own(host):
    """libfcgi takes a socket without a peer on 0 for FastCGI.  Of more than
    0, 1 and 2 there is only the connection."""
    seen = [fds(answer) for answer in
            threads.all_of(host.fetch, ["/fn/warm?head&sleep=500&fds"] * 3)]
    assert [one["fd0"] for one in seen] == [["listening", "ENOTCONN"]] * 3
    assert [one["others"] for one in seen] == [["1"]] * 3
    pipes = {(one[name][0], one[name][1]) for one in seen
             for name in ("fd1", "fd2")}
    assert all(len(one[name]) == 2 for one in seen for name in ("fd1", "fd2"))
    assert {kind for kind, _ in pipes} == {"pipe"}
    assert len(pipes) >= 4 and len(pipes) % 2 == 0, \
        "stdout and stderr, or two instances, share a pipe"


# W15
def test_a_cgi_program_has_three_pipes_of_its_own_each_time(host):
    seen = [fds(host.fetch("/fn/swiss?head&fds", b"x")) for _ in range(3)]
    for one in seen:
        assert one["others"] == ["0"]
        assert [one[f"fd{n}"][0] for n in range(3)] == ["pipe"] * 3
        assert all(len(one[f"fd{n}"]) == 2 for n in range(3)), "non-blocking"
        assert len({one[f"fd{n}"][1] for n in range(3)}) == 3


BASE = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp",
        "TMPDIR": "/tmp", "LANG": "C.UTF-8", "GREETING": "good day"}


# W30
def test_a_fastcgi_process_has_the_base_and_the_configured_environment(host):
    """Exactly: nothing of the daemon's, and nothing of its first request's."""
    for _ in range(2):
        answer = host.fetch("/fn/warm?head&process", HTTP_X_EVIL="1")
        assert facts(answer) == BASE


# W30
def test_a_cgi_program_has_no_variable_beside_those_and_the_requests(host):
    params = fcgi.request_params("/fn/swiss?head&environ")
    seen = facts(host.fetch("/fn/swiss?head&environ"))
    own = {"SCRIPT_FILENAME", "PATH_INFO", "REDIRECT_STATUS", "REQUEST_ID",
           "FCGI_HOST_FUNCTION", "FCGI_HOST_INSTANCE"}
    assert set(seen) <= set(params) | set(BASE) | own
    assert {name: seen[name] for name in BASE} == BASE


@pytest.mark.parametrize("path", [
    "/bin/sh", "proxy:fcgi://localhost/bin/sh", "/fn/warm.fcgi",
    "../warm.fcgi", "/fn/../../bin/sh"])
@pytest.mark.parametrize("name", ["swiss", "warm"])
# W31
def test_a_peers_script_filename_is_not_what_runs(host, name, path):
    answer, record = host.execute(
        f"/fn/{name}?head&env=SCRIPT_FILENAME&env=FCGI_HOST_FUNCTION",
        SCRIPT_FILENAME=path, PATH_TRANSLATED=path, DOCUMENT_ROOT="/bin",
        FCGI_HOST_INSTANCE="1")
    file = {"swiss": "swiss.cgi", "warm": "warm.fcgi"}[name]
    assert answer.text == (f"SCRIPT_FILENAME=/fn/{file}\n"
                           f"FCGI_HOST_FUNCTION={name}\n")
    assert record["function"] == name


# W27
def test_a_child_of_a_fastcgi_program_ends_with_its_instance(host):
    """It may work on behind an answer, not longer."""
    before = set(host.instances())
    answer, record = host.execute("/fn/family?head&orphan=60000&raw=x")
    assert (answer.text, answer.is_complete) == ("x", True)
    family = [pid for pid in set(host.instances()) - before
              if proc.program(pid) == "family.fcgi"]
    assert len(family) == 2, "the child is not there"
    host.books.wait(lambda r: r["type"] == "instance" and
                    r["instance"] == record["instance"])
    assert host_room.wait_gone(family) == []


@pytest.mark.parametrize("name", ["hang", "hang/f"])
# W47
def test_a_function_that_hangs_holds_nobody_else_up(host, name):
    """All of its instances do, and more requests wait for it."""
    stuck = [host.connect() for _ in range(10)]
    try:
        for connection in stuck:
            connection.send(fcgi.request_bytes(f"/fn/{name}?hang"))
        time.sleep(0.5)
        for other in ("swiss", "warm"):
            started = time.monotonic()
            assert host.fetch(f"/fn/{other}?head&raw=x").text == "x"
            assert time.monotonic() - started < 10
    finally:
        for connection in stuck:
            connection.close()
