"""kill -9 of each part: what lives on, what is recorded, what is left."""
import fcntl
import os
import pathlib
import signal
import subprocess
import time

import pytest

from lib import books, fcgi, host as host_room, proc

@pytest.fixture
def host(start_once, programs):
    return start_once.host({"swiss.cgi": programs.cgi,
                            "warm.fcgi": programs.fcgi},
                           {"defaults": {"instances": "8"}})


def run_all(host, urls):
    """Connections on which executions are in flight now: {id: connection}."""
    running = {}
    for url in urls:
        request_id = host_room.new_id()
        connection = host.connect()
        connection.send(fcgi.request_bytes(url, REQUEST_ID=request_id))
        running[request_id] = connection
    until = time.monotonic() + 30
    while len(host.instances()) < 2 * len(running):
        assert time.monotonic() < until, "they do not run"
        time.sleep(0.02)
    return running


def ends_cut(connection):
    """The client is not left in the belief that its answer is whole."""
    with connection:
        try:
            return not connection.read_answer().is_complete
        except ConnectionResetError:
            return True


def kill_host(host):
    """kill -9 of the spawner alone; everything else must die of itself."""
    below = proc.descendants(host.pid)
    os.kill(host.roles()["spawner"], signal.SIGKILL)
    host.process.wait(30)
    left = host_room.wait_gone(below)
    assert not left, [(pid, proc.program(pid)) for pid in left]


LONG = ["/fn/swiss?head&sleep=20000", "/fn/warm?head&sleep=20000"]


def test_with_the_spawner_everything_dies_and_the_next_run_settles(host):
    done = [host_room.new_id() for _ in range(3)]
    for one in done:
        assert host.fetch("/fn/swiss?head&raw=x", REQUEST_ID=one).text == "x"
    begun = time.monotonic()
    running = run_all(host, LONG * 3)
    group = host.find_cgroup()
    kill_host(host)
    lived_us = (time.monotonic() - begun) * 1000000
    for connection in running.values():
        assert ends_cut(connection)
    with open(host.accounting, "ab") as log:
        log.write(b'{"v":1,"seq":99,"type":"exec","ti')
    old = host.books.all()[0]["run"]
    time.sleep(1)
    host.start()
    if group is not None and group.exists():
        assert [e for e in group.iterdir() if e.is_dir()] == []
    assert host.fetch("/fn/swiss?head&raw=back").text == "back"
    first, second = books.runs(host.books.all())
    books.check_seq(first, True)
    books.check_seq(second, True)
    for one in done:
        assert host.books.wait_request(one)["outcome"] == "ok"
    for one in running:
        record = host.books.wait_request(one)
        assert record in second
        assert record["outcome"] == "lost"
        assert record["reason"] == "the host died"
        assert record["id"].startswith(old + "-")
        assert record["run_us"] < lived_us + 900000, \
            "the time of nobody is billed"
    ids = [r["id"] for r in host.books.executions()]
    assert len(ids) == len(set(ids))
    if group is not None:
        assert second[0]["cgroup_cpu_us"] > 0
    host.stop()
    books.check_seq(books.runs(host.books.all())[1], True)
    assert not (host.run_dir / "inflight").exists()


def test_what_ran_is_not_recorded_when_its_table_died_with_the_host(host):
    """As after a power cut with `run` on a tmpfs.  The log still tells: a
    `start` whose run before has no `stop`."""
    running = run_all(host, LONG)
    kill_host(host)
    for connection in running.values():
        assert ends_cut(connection)
    (host.run_dir / "inflight").unlink()
    host.start()
    assert host.fetch("/fn/swiss?head&raw=back").text == "back"
    first, second = books.runs(host.books.all())
    books.check_seq(first, True)
    books.check_seq(second, True)
    assert first[-1].get("event") != "stop"
    assert second[0]["event"] == "start"
    for one in running:
        assert not host.books.holds(one)


def remove_group(group):
    """As systemd does behind a service that was killed: the clock is gone."""
    for directory in sorted((e for e in group.rglob("*") if e.is_dir()),
                            reverse=True):
        directory.rmdir()
    group.rmdir()


def test_what_a_killed_host_used_is_known_though_its_clock_is_gone(host,
                                                                   installed):
    """To the second, and twice in a row: what the next run loses is its own."""
    group = host.find_cgroup()
    if group is None:
        pytest.skip("NOT RUN: no cgroup v2 here")
    burnt = []
    for _ in range(2):
        host.execute("/fn/swiss?head&cpu=100")
        running = run_all(host, ["/fn/swiss?head&cpu=20000"])
        time.sleep(2.5)
        burnt.append(int((group / "cpu.stat").read_text().split()[1]))
        kill_host(host)
        for connection in running.values():
            assert ends_cut(connection)
        remove_group(group)
        host.start()
    # a gateway's death is held against the new clock alone
    os.kill(host.wait_role("gateway"), signal.SIGKILL)
    host.books.wait(lambda r: r.get("event") == "restart")
    host.stop()
    runs = books.runs(host.books.all())
    for run, used_us in zip(runs[1:], burnt):
        assert "cgroup_cpu_us" not in run[0]
        told = run[0]["lost_cpu_us"]
        assert used_us - 1600000 <= told + 100000 <= used_us + 300000, \
            (told, used_us)
    done = installed.run("usage", "--audit", host.accounting)
    assert done.returncode == 0, done.stdout + done.stderr
    _, recorded, _, clock = books.balances(runs[2])[-1]
    assert abs(recorded - clock) < 10000 + clock // 100, (recorded, clock)


def test_a_host_killed_again_and_again_records_what_was_lost_once(host):
    lost = []
    for _ in range(4):
        running = run_all(host, LONG)
        lost += running
        kill_host(host)
        for connection in running.values():
            assert ends_cut(connection)
        host.start()
    for one in lost:
        assert host.books.wait_request(one)["outcome"] == "lost"
    host.stop()
    for records in books.runs(host.books.all()):
        books.check_seq(records, True)
    totals = [r.get("cgroup_cpu_us", 0) for r in host.books.of_type("host")
              if r["event"] == "start"]
    assert len(totals) == 5


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\xff" * (8 << 20),
                                     os.urandom(4 << 20)])
def test_a_table_that_is_none_is_made_new_and_nothing_invented(
        start_once, programs, content):
    host = start_once.host({"swiss.cgi": programs.cgi}, is_started=False)
    (host.run_dir / "inflight").write_bytes(content)
    (host.run_dir / "inflight").chmod(0o600)
    host.start()
    assert host.fetch("/fn/swiss?head&raw=x").text == "x"
    assert [r["outcome"] for r in host.books.executions()] == ["ok"]


@pytest.mark.parametrize("what", ["link", "directory", "mode", "owner"])
def test_a_table_that_a_host_cannot_have_left_is_refused(start_once, programs,
                                                         what):
    host = start_once.host({"swiss.cgi": programs.cgi}, is_started=False)
    table = host.run_dir / "inflight"
    precious = host.dir / "precious"
    precious.write_text("precious")
    if what == "link":
        table.symlink_to(precious)
    elif what == "directory":
        table.mkdir()
    else:
        table.touch(0o644 if what == "mode" else 0o600)
        os.chown(table, 1 if what == "owner" else 0, 0)
    done = host.installed.run("run", "-c", host.ini_path, timeout=20)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "inflight" in said and "remove it" in said
    assert precious.read_text() == "precious"


def wait_held(path, timeout=30):
    """Until somebody has locked the file."""
    until = time.monotonic() + timeout
    with open(path, "rb") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            fcntl.flock(file, fcntl.LOCK_UN)
            assert time.monotonic() < until, "nobody locks it"
            time.sleep(0.02)


def test_a_table_that_is_held_is_said_to_be(start_once, programs):
    host = start_once.host({"swiss.cgi": programs.cgi}, is_started=False)
    table = host.run_dir / "inflight"
    table.touch(0o600)
    held = subprocess.Popen(["flock", table, "sleep", "60"],
                            stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_held(table)
        done = host.installed.run("run", "-c", host.ini_path, timeout=20)
        assert done.returncode == 1
        assert "still holds inflight" in done.stdout + done.stderr
    finally:
        os.killpg(held.pid, signal.SIGKILL)
        held.wait()


def test_a_gateway_that_dies_while_it_settles_leaves_it_to_the_next(host):
    """Its successor is killed as soon as it is there, three times."""
    running = run_all(host, LONG * 2)
    for _ in range(4):
        gateway = host.roles().get("gateway")
        if gateway:
            os.kill(gateway, signal.SIGKILL)
        until = time.monotonic() + 30
        while host.roles().get("gateway") in (None, gateway):
            assert time.monotonic() < until
            time.sleep(0.001)
    for connection in running.values():
        assert ends_cut(connection)
    for one in running:
        assert host.books.wait_request(one)["outcome"] == "lost"
    host.wait_served("/fn/swiss?head")
    host.stop()
    books.check_seq(host.books.all(), True)


def clock_us(group):
    """What the cgroup of all instances has used."""
    for line in (group / "cpu.stat").read_text().splitlines():
        if line.startswith("usage_usec "):
            return int(line.split()[1])
    raise AssertionError("no usage_usec")


def charged_us(records):
    """The processor time in records, but for what was lost."""
    return sum(r["cpu_us"] for r in records if r["type"] == "exec") + \
        sum(r["start_cpu_us"] + r["idle_cpu_us"] for r in records
            if r["type"] == "instance")


def owed_us(host, group):
    """What was used in this run and is in no record of an execution."""
    return clock_us(group) - charged_us(books.runs(host.books.all())[-1])


def burn(host, group):
    """Executions and an idle instance that burn when this returns: (the
    connections, what is in no record yet)."""
    for name in ("swiss", "warm"):
        for _ in range(10):
            _, record = host.execute(f"/fn/{name}?head&cpu=5")
            assert record["outcome"] == "ok"
    host.execute("/fn/warm?head&after=60000")
    burning = run_all(host, ["/fn/swiss?head&cpu=60000",
                             "/fn/warm?head&cpu=60000"])
    start = clock_us(group)
    until = time.monotonic() + 20
    while clock_us(group) < start + 1000000:
        assert time.monotonic() < until, "nothing burns"
        time.sleep(0.02)
    return burning, owed_us(host, group)


def find_group(host):
    group = host.find_cgroup()
    if group is None:
        pytest.skip("NOT RUN: there is no cgroup v2, so no clock to compare")
    return group


def test_what_a_killed_gateways_instances_used_is_in_the_books(host):
    """Also when it is killed twice; the books balance within 1 %."""
    group = find_group(host)
    for lap in (1, 2):
        burning, owed = burn(host, group)
        before = host.books.all()
        os.kill(host.roles()["gateway"], signal.SIGKILL)
        for connection in burning.values():
            assert ends_cut(connection)
        record = host.books.wait(
            lambda r: r["type"] == "host" and r["event"] == "restart" and
            r["seq"] > before[-1]["seq"], what="record of the restart")
        # lap 2 owes what lap 1 lost, which stands in a record of its own
        told = sum(r.get("lost_cpu_us", 0) for r in before)
        at_most = clock_us(group) - charged_us(before) - told
        assert owed - told <= record["lost_cpu_us"] <= at_most, lap
        assert record["cgroup_cpu_us"] >= record["lost_cpu_us"]
        host.wait_served("/fn/swiss?head")
    host.stop()
    records = host.books.all()
    total = records[-1]["cgroup_cpu_us"]
    spent = charged_us(records) + sum(r.get("lost_cpu_us", 0)
                                      for r in records)
    assert 0.99 <= spent / total <= 1.01, f"{spent} of {total}"


def test_what_a_killed_hosts_instances_used_is_in_the_next_runs_books(host):
    group = find_group(host)
    burning, owed = burn(host, group)
    kill_host(host)
    for connection in burning.values():
        assert ends_cut(connection)
    at_most = owed_us(host, group)
    host.start()
    host.execute("/fn/swiss?head&cpu=300")
    host.stop()
    first, second = books.runs(host.books.all())
    lost = second[0]["lost_cpu_us"]
    assert owed <= lost <= at_most
    spent, total = charged_us(first) + lost, second[0]["cgroup_cpu_us"]
    assert 0.99 <= spent / total <= 1.01, f"{spent} of {total}"
    # and is none of the new run's
    spent, total = charged_us(second), second[-1]["cgroup_cpu_us"]
    assert 0.99 <= spent / total <= 1.01, f"{spent} of {total}"


def test_a_gateway_killed_again_and_again_is_back_within_two_seconds(host):
    host.wait_served("/fn/swiss?head")
    took = []
    for _ in range(7):
        os.kill(host.roles()["gateway"], signal.SIGKILL)
        since = time.monotonic()
        while True:
            try:
                if host.fetch("/fn/swiss?head&raw=x").text == "x":
                    break
            except ConnectionError:
                time.sleep(0.005)
        took.append(time.monotonic() - since)
    assert max(took) < 2, took


def run_without_gateway(host, tmp_path):
    """`run`, but its gateway ends before it says a word."""
    libexec = tmp_path / "libexec"
    libexec.mkdir()
    for path in pathlib.Path(host.installed.libexec).iterdir():
        if path.name.startswith("fcgi-host-") and path.is_file():
            (libexec / path.name).symlink_to(path)
    (libexec / "fcgi-host-gateway").unlink()
    (libexec / "fcgi-host-gateway").symlink_to("/bin/false")
    with open(host.log_path, "ab") as log:
        return subprocess.Popen(
            [str(host.installed.command), "run", "-c", str(host.ini_path)],
            env=host.installed.environment(FCGI_HOST_LIBEXEC=str(libexec),
                                           **host.manager.environment()),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True)


def test_what_a_killed_host_owes_outlives_a_host_that_dies_at_once(
        host, tmp_path):
    """The next one dies before its first record; the one after it tells."""
    group = find_group(host)
    burning, owed = burn(host, group)
    kill_host(host)
    for connection in burning.values():
        assert ends_cut(connection)
    at_most = owed_us(host, group)
    run = run_without_gateway(host, tmp_path)
    try:
        host.wait_log(r"role_ended .*which=gateway pid=\d+ exit=1")
    finally:
        run.kill()
        run.wait()
    host.start()
    for one in burning:
        assert host.books.wait_request(one)["outcome"] == "lost"
    kill_host(host)
    host.start()
    host.stop()
    first, second, third = books.runs(host.books.all())
    lost, total = second[0]["lost_cpu_us"], second[0]["cgroup_cpu_us"]
    assert owed <= lost <= at_most
    assert 0.99 <= (charged_us(first) + lost) / total <= 1.01
    # the clock goes on, and nothing is told twice
    assert third[0]["cgroup_cpu_us"] >= total
    assert third[0].get("lost_cpu_us", 0) < 100000


def test_a_host_whose_gateway_never_comes_up_ends_at_once(start_once,
                                                          programs, tmp_path):
    host = start_once.host({"swiss.cgi": programs.cgi}, is_started=False)
    run = run_without_gateway(host, tmp_path)
    try:
        host.wait_log(r"role_ended .*which=gateway pid=\d+ exit=1")
        time.sleep(0.5)
        run.send_signal(signal.SIGTERM)
        started = time.monotonic()
        run.wait(60)
        assert time.monotonic() - started < 20
        assert "no gateway stays up" in host.log()
        assert host.manager.wait("STOPPING=1", 0, 30, lambda: True)
        assert "READY=1" not in host.manager.said
    finally:
        run.kill()
        run.wait()
