"""What systemd does with the service under load: not one request fails."""
import gzip
import os
import pathlib
import signal
import statistics
import time

import pytest

import service
from lib import books, fcgi, load as load_room, proc

TORN = b'{"v":1,"seq":7,"type":"exec","ti'
LAPS = 3


@pytest.fixture
def load(functions):
    """Clients of every kind, on new and on kept connections."""
    made = load_room.Load(least=5)
    made.add(load_room.Raw, functions, service.SOCKET, threads=1)
    made.add(load_room.Kept, functions, service.SOCKET, threads=1)
    made.add(load_room.Http, functions, service.NGINX, threads=1)
    made.add(load_room.Http, functions, service.NGINX_KEPT)
    made.before = len(service.BOOKS.all())
    return made


def check(load):
    """Not one failed; one record each, and each run's seq is whole."""
    load.check()
    records = service.BOOKS.all()
    new = [r for r in records[load.before:] if r["type"] == "exec"]
    assert [r["outcome"] for r in new] == ["ok"] * len(new)
    assert len(new) == len({r["request_id"] for r in new}) == load.count
    for run in books.runs(records):
        books.check_seq(run, True)


def test_reloads_fail_no_request(load):
    before = service.INI.read_text()
    pid = service.main_pid()
    try:
        with load:
            for lap in range(4):
                time.sleep(0.5)
                service.INI.write_text(before.replace(
                    "[defaults]\n", f"[defaults]\nidle = {30 + lap}s\n", 1))
                service.systemctl("reload", service.UNIT)
            load.wait_each(5)
    finally:
        service.INI.write_text(before)
        service.systemctl("reload", service.UNIT)
    check(load)
    assert service.main_pid() == pid


def test_restarts_fail_no_request(load):
    with load:
        for _ in range(3):
            time.sleep(1)
            pid = service.main_pid()
            service.again()
            assert service.main_pid() != pid
        load.wait_each(5)
    check(load)
    assert "event=listen_kept" in service.journal(500)


@pytest.fixture
def socket_unit():
    """systemd holds the socket, turned on as the unit's comment says."""
    service.systemctl("disable", "-q", "--now", "fcgi-host")
    service.systemctl("enable", "-q", "--now", "fcgi-host.socket", "fcgi-host")
    yield "fcgi-host.socket"
    service.systemctl("disable", "-q", "--now", "fcgi-host.socket", "fcgi-host")
    service.systemctl("reset-failed", service.UNIT, is_checked=False)
    service.systemctl("enable", "-q", "--now", "fcgi-host")


def test_restarts_with_the_socket_unit_fail_no_request(socket_unit, load):
    with load:
        for _ in range(2):
            time.sleep(1)
            service.again()
        load.wait_each(5)
    check(load)
    assert 'name="fcgi-host.socket"' in service.journal(500)


def test_a_request_starts_a_service_that_was_stopped(socket_unit, functions):
    service.systemctl("stop", service.UNIT)
    assert pathlib.Path(service.SOCKET).exists()
    assert service.fetch("/fn/c?head&raw=started").text == "started"
    service.wait(lambda: service.shown("ActiveState")["ActiveState"] ==
                 "active", what="the service is up")


def test_after_kill_9_systemd_starts_it_and_who_waits_is_served(functions):
    request_id = "t" + os.urandom(10).hex()
    restarts = int(service.shown("NRestarts")["NRestarts"])
    running = fcgi.Connection(service.SOCKET, 30)
    running.send(fcgi.request_bytes("/fn/c?head&cpu=20000",
                                    REQUEST_ID=request_id))
    time.sleep(1)
    pid = service.main_pid()
    unit = service.cgroup()
    os.kill(pid, signal.SIGKILL)
    with running:
        assert not running.read_answer().is_complete
    # the socket is systemd's meanwhile
    assert service.fetch("/fn/c?head&raw=waited").text == "waited"
    service.wait(lambda: service.shown("ActiveState")["ActiveState"] ==
                 "active", what="the service is up")
    assert service.main_pid() not in (0, pid)
    assert int(service.shown("NRestarts")["NRestarts"]) == restarts + 1
    record = service.BOOKS.wait_request(request_id)
    assert (record["outcome"], record["reason"]) == ("lost", "the host died")
    for run in books.runs(service.BOOKS.all()):
        books.check_seq(run, True)
    # nothing of the dead run is left in the unit's cgroup
    assert service.cgroup() == unit
    parents = [e for e in unit.iterdir() if e.name.startswith("fcgi-host-")]
    assert len(parents) == 1


@pytest.fixture(params=["stored", "socket-unit"])
def holder(request):
    """Who holds the socket while nobody serves: systemd either way."""
    if request.param == "socket-unit":
        request.getfixturevalue("socket_unit")


def tear_the_log(gateway):
    """Its last line is torn, and nobody lives to mend it."""
    os.kill(gateway, signal.SIGSTOP)
    service.wait(lambda: proc.stat(gateway)[1] == "T", what="it is stopped")
    with open(service.BOOKS.path, "ab") as log:
        log.write(TORN)


def kill_in_the_middle(request_id):
    """kill -9 of the spawner beside an execution that has begun to answer; the
    seconds until a new request has its answer."""
    running = fcgi.Connection(service.SOCKET, 30)
    running.send(fcgi.request_bytes("/fn/c?head&sleep=20000&raw=x",
                                    REQUEST_ID=request_id))
    answer = fcgi.Answer()
    running.read_answer(1, answer, lambda a: a.head)
    pid = service.main_pid()
    gateway, = [one for one in proc.descendants(pid)
                if proc.program(one) == "fcgi-host-gateway"]
    tear_the_log(gateway)
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    service.wait(lambda: answered("back"), what="service is back")
    took = time.monotonic() - killed
    with running:
        assert not running.read_answer(1, answer).is_complete
    assert service.main_pid() not in (0, pid)
    return took


def answered(nonce):
    """Whether a request is; who connects before the next host waits for it."""
    try:
        with fcgi.Connection(service.SOCKET) as connection:
            connection.send(fcgi.request_bytes(f"/fn/f?head&raw={nonce}"))
            return connection.is_answered(nonce)
    except (OSError, EOFError):
        return False


def test_killed_again_and_again_under_load_it_comes_back_whole(holder,
                                                               functions):
    """How soon is the soak's to say, which waits as long as systemd does: this
    machine is slow, and so is all that is started in it."""
    assert service.shown("RestartUSec") == {"RestartUSec": "100ms"}
    load, took, inside = load_room.Load(least=0), [], []
    load.add(load_room.Raw, functions, service.SOCKET)
    load.add(load_room.Kept, functions, service.SOCKET, threads=1)
    load.add(load_room.Http, functions, service.NGINX_KEPT, threads=1)
    before = len(service.BOOKS.all())
    restarts = int(service.shown("NRestarts")["NRestarts"])
    with load:
        for _ in range(LAPS):
            load.wait_answered(8)
            inside.append("t" + os.urandom(10).hex())
            took.append(kill_in_the_middle(inside[-1]))
        load.wait_answered(8)
    print(f"back after {statistics.median(took):.2f} s, at most "
          f"{max(took):.2f} s")
    assert int(service.shown("NRestarts")["NRestarts"]) == restarts + LAPS
    records = service.BOOKS.all()  # each line of it is whole
    load.judge(records)
    new = [r for r in records[before:] if r["type"] == "exec"]
    assert len(new) == len({r["id"] for r in new})
    for request_id in inside:
        record, = [r for r in new if r["request_id"] == request_id]
        assert (record["outcome"], record["reason"]) == ("lost",
                                                         "the host died")
    for run in books.runs(records):
        books.check_seq(run, True)


def test_the_installed_rotation_loses_no_record(load, tmp_path):
    rules = pathlib.Path(os.environ["SYSCONFDIR"]) / "logrotate.d/fcgi-host"
    log = pathlib.Path(service.BOOKS.path)
    with load:
        load.wait_each(2)
        service.run("logrotate", "-f", "-s", "/tmp/rotate.state", rules)
        load.wait_each(5)
    load.check()
    old = list(log.parent.glob(f"{log.name}-*"))
    assert len(old) == 1, old
    lines = gzip.decompress(old[0].read_bytes()) if old[0].suffix == ".gz" \
        else old[0].read_bytes()
    whole = tmp_path / "whole"
    whole.write_bytes(lines + log.read_bytes())
    records = books.Books(whole).all()
    new = [r for r in records[load.before:] if r["type"] == "exec"]
    assert len(new) == len({r["request_id"] for r in new}) == load.count
    for run in books.runs(records):
        books.check_seq(run, True)
