"""The host as a service of systemd, behind the machine's own nginx: what it is
given, and what it makes of it."""
import contextlib
import re
import threading
import time

import pytest

import service
from lib import books, fcgi, proc, web


def test_the_units_are_without_fault():
    done = service.run("systemd-analyze", "verify", "--man=no",
                       "fcgi-host.service", "fcgi-host.socket")
    assert done.stdout == ""


def test_the_service_is_up_by_its_own_unit():
    assert service.shown("ActiveState", "SubState", "Type", "Delegate",
                         "UnitFileState") == {
        "ActiveState": "active", "SubState": "running", "Type": "notify",
        "Delegate": "yes", "UnitFileState": "enabled"}


def test_the_unit_takes_what_nobody_here_needs():
    """Before the spawner gives up more by itself, and from all that it starts."""
    shown = service.shown("NoNewPrivileges", "LockPersonality", "DevicePolicy",
                          "RestrictRealtime", "SystemCallArchitectures")
    assert shown == {"NoNewPrivileges": "yes", "LockPersonality": "yes",
                     "DevicePolicy": "closed", "RestrictRealtime": "yes",
                     "SystemCallArchitectures": "native"}
    bounds = service.shown("CapabilityBoundingSet")["CapabilityBoundingSet"]
    assert len(bounds.split()) == 12 and "cap_sys_admin" in bounds
    assert "cap_sys_module" not in bounds and "cap_sys_ptrace" not in bounds
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", service.run(
        "systemd-analyze", "security", "--no-pager", service.UNIT).stdout)
    assert float(exposure[1]) < 6.5, exposure[0] # 9.6 with none of that


def test_a_dropped_function_answers_through_nginx_and_leaves_a_record():
    (service.FUNCTIONS / "first.sh").write_text(
        "printf 'Content-Type: text/plain\\n\\nfirst\\n'\n")
    until = time.monotonic() + 10 # the scanner has a slow machine, too
    while service.run("fcgi-host", "invoke", "first",
                      is_checked=False).returncode != 0:
        assert time.monotonic() < until
    reply = web.get(service.NGINX, "/fn/first")
    assert (reply.status, reply.text, reply.is_whole) == (200, "first\n", True)
    assert [(r["trigger"], r["outcome"], r["status"])
            for r in service.BOOKS.executions("first")] == [
        ("invoke", "ok", 200), ("web", "ok", 200)]


def test_the_check_misses_landlock_and_nothing_else():
    """That kernel is built without it; the host says so at its start, too."""
    said = service.told("check")
    off = {layer["layer"]: layer["fact"] for layer in said["layers"]
           if not layer["on"]}
    assert set(off) == {"landlock"}, off
    assert "not in this kernel" in off["landlock"]
    assert said["ok"] and said["errors"] == []
    assert re.search(r"event=layer_off layer=landlock", service.journal(500))


def test_a_required_layer_that_is_missing_is_a_start_refused():
    before = service.INI.read_text()
    service.INI.write_text(before.replace("[host]\n",
                                          "[host]\nrequire = landlock\n", 1))
    try:
        done = service.systemctl("restart", service.UNIT, is_checked=False)
    finally:
        service.INI.write_text(before)
        service.again()
    assert done.returncode == 1
    assert 'event=layer_missing why="landlock is required: not in this ' \
        "kernel" in service.journal(200)


def test_a_tenant_reads_the_log_of_his_function_and_no_record(programs):
    """Where the unit's own directory lets him pass, and only that."""
    before = service.INI.read_text()
    place = service.LOGS / "functions"
    service.INI.write_text(before.replace(
        "[host]\n", f"[host]\nfunction_logs = {place}\n", 1))
    try:
        service.systemctl("reload", service.UNIT)
        service.add("alice/says.cgi", programs.cgi)
        service.fetch("/fn/alice/says?err=for-alice&head")
        log = place / "alice/says.log"
        service.wait(lambda: log.exists() and "for-alice" in log.read_text(),
                     what="the line")
        number = str(log.stat().st_gid)
        assert number != "0" and log.parent.stat().st_mode & 0o777 == 0o750
        as_alice = ("setpriv", "--reuid", number, "--regid", number,
                    "--clear-groups")
        said = service.run(*as_alice, "fcgi-host", "logs", "alice/says").stdout
        assert said.rstrip().endswith("for-alice")
        done = service.run(*as_alice, "cat", service.setting("accounting"),
                           is_checked=False)
        assert done.returncode == 1 and "Permission denied" in done.stdout
    finally:
        service.INI.write_text(before)
        service.systemctl("reload", service.UNIT)


# ----------------------------------------------------------------- cgroup

@contextlib.contextmanager
def leaf_of(url, program):
    """The leaf in which a request of 2 s runs, as it is meanwhile."""
    thread = threading.Thread(target=service.fetch, args=(url,))
    thread.start()
    try:
        pid = service.wait(lambda: next(
            (pid for pid in proc.descendants(service.main_pid())
             if proc.program(pid) == program), None), what="the execution")
        yield proc.cgroup_v2(pid)
    finally:
        thread.join()


def words(path):
    return set(path.read_text().split())


def test_roles_and_instances_stand_in_cgroups_of_their_own(functions):
    unit = service.cgroup()
    assert (unit / "cgroup.procs").read_text() == ""
    assert words(unit / "cgroup.subtree_control") == {"cpu", "memory", "pids"}
    roles = {pid: proc.program(pid) for pid in
             [service.main_pid(), *proc.descendants(service.main_pid())]}
    for pid, name in roles.items():
        if name in ("fcgi-host-spawner", "fcgi-host-gateway",
                    "fcgi-host-scanner"):
            assert proc.cgroup_v2(pid) == unit / "supervisor", name
    assert len(words(unit / "supervisor/cgroup.procs")) == 3


@pytest.mark.parametrize("name", ["c", "f"])
def test_a_leaf_has_every_ceiling(functions, programs, name):
    source = programs.cgi if name == "c" else programs.fcgi
    service.add(f"bounds/{name}{source.suffix}", source, memory="96M",
                processes="20", cpu="0.5")
    with leaf_of(f"/fn/bounds/{name}?head&sleep=2000",
                        f"{name}{source.suffix}") as leaf:
        assert leaf.is_relative_to(service.cgroup())
        assert len(leaf.relative_to(service.cgroup()).parts) == 4, leaf
        assert words(leaf / "cgroup.controllers") == {"cpu", "memory", "pids"}
        facts = {key: (leaf / key).read_text().strip() for key in (
            "memory.max", "memory.oom.group", "pids.max", "cpu.max")}
        assert facts == {"memory.max": str(96 << 20), "memory.oom.group": "1",
                         "pids.max": "20", "cpu.max": "50000 100000"}
        swap = leaf / "memory.swap.max"
        assert not swap.exists() or swap.read_text() == "0\n"


@pytest.mark.parametrize("name", ["c", "f"])
def test_who_takes_more_memory_than_his_is_ended_alone_and_recorded_so(
        functions, name):
    """By the kernel, in the leaf: outcome oom, and nobody else feels it."""
    pid = service.main_pid()
    roles = words(service.cgroup() / "supervisor/cgroup.procs")
    answer, record = service.execute(f"/fn/{name}?head&hold=300000&raw=ok")
    assert record["outcome"] == "oom", (answer, record)
    assert record["mem_limit_mib"] == 128
    assert not answer.is_complete or answer.status == 502
    answer, record = service.execute(f"/fn/{name}?head&raw=ok")
    assert (answer.text, record["outcome"]) == ("ok", "ok")
    assert service.main_pid() == pid
    assert words(service.cgroup() / "supervisor/cgroup.procs") == roles
    assert "Memory cgroup out of memory" in service.run(
        "journalctl", "-k", "-q", "--no-pager").stdout


def test_a_flood_of_processes_ends_at_the_leafs_ceiling(functions, programs):
    service.add("flood.cgi", programs.probe, processes="8")
    answer, record = service.execute("/fn/flood", QUERY_STRING="35")
    assert "probe 35: denied" in answer.text, answer.text
    assert record["outcome"] == "ok"


def test_the_books_of_a_run_balance_with_the_units_clock(functions):
    """A run of its own, with executions of every kind; within 1 %."""
    service.again()
    for url in ("/fn/c?head&cpu=400", "/fn/f?head&cpu=400",
                "/fn/f?head&after=300", "/fn/r?x", "/fn/c?head&hold=300000",
                "/fn/c?head&kill=9") * 2:
        service.fetch(url)
    service.systemctl("stop", service.UNIT)
    service.systemctl("start", service.UNIT)
    *_, run, _ = books.runs(service.BOOKS.all())
    books.check_seq(run, True)
    assert run[-1]["event"] == "stop"
    charged = sum(r["cpu_us"] for r in run if r["type"] == "exec") + \
        sum(r["start_cpu_us"] + r["idle_cpu_us"] for r in run
            if r["type"] == "instance")
    total = run[-1]["cgroup_cpu_us"]
    assert total > 2000000
    assert 0.99 <= charged / total <= 1.01, f"{charged} of {total} µs"


@contextlib.contextmanager
def shortly_before_midnight(seconds):
    """With a host that was started at that time of the day."""
    real, begin = time.time(), time.monotonic()
    midnight = (int(real) // 86400 + 1) * 86400
    service.run("date", "-s", f"@{midnight - seconds}")
    try:
        service.again()
        yield midnight
    finally:
        service.run("date", "-s", f"@{real + time.monotonic() - begin:.3f}")
        service.again()


def over_midnight(seconds):
    """(an execution before, its instance's record of that day), or None: the
    restart took so long."""
    with shortly_before_midnight(seconds) as midnight:
        _, one = service.execute("/fn/f?head")
        if time.time() >= midnight:
            return None
        return one, service.BOOKS.wait(
            lambda r: r["type"] == "instance" and r["reason"] == "day" and
            r["instance"] == one["instance"], 90, "record of the day")


def test_what_waits_over_midnight_is_of_both_days(functions):
    seconds = 45
    one, ended = over_midnight(8) or over_midnight(seconds)
    assert ended["time"].endswith("T23:59:59.999999Z")
    assert one["time"][:10] == ended["time"][:10]
    assert 0 < ended["idle_us"] < seconds * 1000000
    later = service.BOOKS.wait(
        lambda r: r["type"] == "instance" and r["seq"] > ended["seq"] and
        r["instance"] == one["instance"], 30, "record of the next day")
    assert later["reason"] != "day" and later["executions"] == 0


# -------------------------------------------------------------- processes

def test_a_stop_leaves_nothing_of_it(functions):
    service.fetch("/fn/f?head")
    unit = service.cgroup()
    service.systemctl("stop", service.UNIT)
    try:
        assert not unit.exists()
        # whose file stays, for a systemd that may hold the socket
        with pytest.raises(ConnectionRefusedError):
            fcgi.Connection(service.SOCKET, 5)
        assert web.get(service.NGINX, "/fn/c").status == 502
    finally:
        service.systemctl("start", service.UNIT)
    assert service.fetch("/fn/c?head&raw=x").text == "x"
