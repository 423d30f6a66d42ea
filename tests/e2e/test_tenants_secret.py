"""One tenant keeps a secret in every place that it has; another one, at the same
time and on the same host, looks for it in everything that it can name.
"""
import os
import subprocess
import time

import pytest

from lib import fcgi, host as host_room, proc

SECRET = "s" + os.urandom(12).hex()
KEY = 0x53454352

KEEPER = f"""#!/usr/bin/python3
import ctypes, os, socket, sys, time
# {SECRET}: in its code, and in every place that it may write
for place in ("/tmp", "/dev/shm", "/data"):
    with open(place + "/{SECRET}", "w") as out:
        out.write("{SECRET}")
    os.chmod(place + "/{SECRET}", 0o644)
kept = []
for name in ("\\0{SECRET}", "/tmp/socket", "/data/socket"):
    if name[0] == "/" and os.path.exists(name):
        os.unlink(name)
    kept.append(socket.socket(socket.AF_UNIX))
    try:
        kept[-1].bind(name)
    except PermissionError:
        assert name == "/data/socket"
        continue
    kept[-1].listen(8)
libc = ctypes.CDLL(None)
number = libc.shmget({KEY}, 4096, 0o1666)
assert number >= 0
print("{SECRET}", file=sys.stderr, flush=True)
print("Content-Type: text/plain\\n\\nready", flush=True)
time.sleep(float(os.environ["QUERY_STRING"]))
"""

FINDER = f"""#!/usr/bin/python3
import ctypes, os, socket
secret = os.environ["QUERY_STRING"]
print("Content-Type: text/plain\\n")
def look(path):
    if secret in path:
        print("name", path)
    try:
        with open(path, "rb") as file:
            if secret.encode() in file.read(1 << 20):
                print("content", path)
    except (OSError, ValueError):
        pass
looked = 0
for where, folders, files in os.walk("/"):
    if where == "/":
        folders[:] = [f for f in folders if f not in ("usr", "proc", "dev")]
    for name in files:
        look(os.path.join(where, name))
        looked += 1
for where, folders, files in os.walk("/dev/shm"):
    for name in files:
        look(os.path.join(where, name))
pids = [pid for pid in os.listdir("/proc") if pid.isdigit()]
for pid in pids:
    if int(pid) != os.getpid():
        for name in ("environ", "cmdline", "comm", "status", "maps"):
            look(f"/proc/{{pid}}/{{name}}")
for name in ("\\0" + secret, "/tmp/socket", "/data/socket"):
    try:
        socket.socket(socket.AF_UNIX).connect(name)
        print("socket", repr(name))
    except OSError:
        pass
if ctypes.CDLL(None).shmget({KEY}, 0, 0) >= 0:
    print("segment")
print("looked at", looked, "files and", len(pids), "processes")
"""


@pytest.fixture(scope="module")
def host(start):
    host = start.host({"bob/keep.py": KEEPER, "bob/find.py": FINDER,
                       "alice/find.py": FINDER}, is_started=False)
    host.sidecar("bob/keep", **{"env.SECRET": SECRET, "timeout": "150s"})
    return host.start()


@pytest.fixture(scope="module")
def kept(host):
    """While the secret's keeper runs."""
    said = host.log().count(SECRET)
    with host.connect() as connection:
        connection.send(fcgi.request_bytes(
            "/fn/bob/keep", QUERY_STRING="120",
            REQUEST_ID=host_room.new_id()))
        until = time.monotonic() + 30
        while host.log().count(SECRET) == said:
            assert time.monotonic() < until, host.log()[-2000:]
            time.sleep(0.02)
        yield


def found(host, tenant):
    answer, record = host.execute(f"/fn/{tenant}/find", QUERY_STRING=SECRET)
    assert (answer.status, record["outcome"]) == (200, "ok"), answer.text
    *lines, last = answer.text.strip().splitlines()
    assert last.startswith("looked at "), answer.text
    return lines


def test_nothing_of_a_tenant_is_found_by_another(host, kept):
    assert found(host, "alice") == []


def test_its_own_other_function_finds_what_is_in_data(host, kept):
    """The finder proves something only if it can find."""
    lines = found(host, "bob")
    assert f"content /data/{SECRET}" in lines, lines
    # where Landlock is, nobody makes one there
    assert ("socket '/data/socket'" in lines) != proc.has_landlock()
    assert not [line for line in lines if "/data" not in line]


PLANT = """cp /bin/cat /data/planted; chmod 6755 /data/planted; chmod 777 /data
printf 'Content-Type: text/plain\\n\\n'; ls -l /data/planted
"""


def test_what_it_leaves_in_data_nobody_on_the_machine_runs(start_once):
    """A program that is setuid there would run as the tenant's number, for an
    ordinary user who helps him, outside of every sandbox and every book."""
    host = start_once.host({"alice/plant.sh": PLANT})
    assert "rwsr-s" in host.fetch("/fn/alice/plant").text
    planted = host.state / "data/alice/planted"
    assert planted.stat().st_mode & 0o6000 == 0o6000
    assert not reaches(planted)
    # he would have been seen to
    assert reaches(host.functions / "alice/plant.sh")


def reaches(path):
    """Whether an ordinary user can name it."""
    return subprocess.run(["/usr/bin/test", "-e", str(path)], user=65534,
                          group=65534, extra_groups=[],
                          check=False).returncode == 0
