"""What systemd does with the service under load: not one request fails."""
import gzip
import os
import pathlib
import signal
import time

import pytest

import service
from lib import books, fcgi, load as load_room


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
        time.sleep(1)
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
        time.sleep(1)
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


def test_the_installed_rotation_loses_no_record(load, tmp_path):
    rules = pathlib.Path(os.environ["SYSCONFDIR"]) / "logrotate.d/fcgi-host"
    log = pathlib.Path(service.BOOKS.path)
    with load:
        time.sleep(1)
        service.run("logrotate", "-f", "-s", "/tmp/rotate.state", rules)
        time.sleep(1)
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
