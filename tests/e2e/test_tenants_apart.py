"""What one tenant's function tries against another's that is at work.

The same attempts are made by three: a stranger, who must get nothing; the victim
itself, in its own sandbox; and whoever started the host, outside.  Each must
succeed for one of the last two, so that it is known to find what is there.  All of
it behind root's host and behind an ordinary user's, where no tenant has an id of
his own.
"""
import json
import subprocess
import sys
import time
import urllib.parse

import pytest

from lib import threads

pytestmark = pytest.mark.any_user

# One function per promise; each returns what it got, or raises.
ATTEMPTS = r'''
import ctypes, glob, json, os, signal, socket, sys, time, urllib.parse
libc = ctypes.CDLL(None, use_errno=True)
SECRET = b"bob-" + b"secret"
KEY = 0x626f62


def read_any(paths):
    errors = set()
    for path in paths:
        try:
            with open(path, "rb") as file:
                if SECRET in file.read(1 << 20):
                    return path
            errors.add("nothing in it")
        except OSError as error:
            errors.add(error.strerror)
    raise OSError(", ".join(sorted(errors)) or "none there")


def everywhere(path):
    """By its name, from above, and through every process that is seen."""
    roots = glob.glob("/proc/[0-9]*/root") + glob.glob("/proc/[0-9]*/cwd")
    return ([path, "/data/../.." + path, "/fn/../.." + path] +
            [root + path for root in roots] +
            [root + "/../../.." + path for root in roots])


def called(number):
    if number < 0:
        raise OSError(os.strerror(ctypes.get_errno()))
    return number


def connect(kind, address):
    with socket.socket(socket.AF_UNIX, kind) as made:
        made.settimeout(2)
        made.connect(address)


def connect_any(addresses):
    errors = set()
    for address in addresses:
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET,
                     socket.SOCK_DGRAM):
            try:
                connect(kind, address)
                return address
            except OSError as error:
                errors.add(error.strerror or str(error))
    raise OSError(", ".join(sorted(errors)) or "none there")


def code(at):
    return read_any(everywhere(at["functions"] + "/bob/victim.py") +
                    everywhere("/bob/victim.py") + everywhere("/fn/victim.py"))


def data(at):
    return read_any(everywhere(at["state"] + "/data/bob/secret") +
                    everywhere("/data/secret") + ["/data/../bob/secret"])


def data_written(at):
    errors = set()
    for path in everywhere(at["state"] + "/data/bob/secret") + everywhere(
            "/data/secret") + ["/data/../bob/secret"]:
        try:
            with open(path, "r+b") as file:
                file.write(SECRET)
            return path
        except OSError as error:
            errors.add(error.strerror)
    raise OSError(", ".join(sorted(errors)))


def tmp(at):
    return read_any(everywhere("/tmp/secret") + ["/tmp/../tmp/secret"])


def environment(at):
    return read_any(glob.glob("/proc/[0-9]*/environ") +
                    glob.glob("/proc/[0-9]*/task/*/environ") +
                    [f"/proc/{at['pid']}/environ"])


def logs(at):
    return read_any(everywhere(at["log"]) + everywhere(at["accounting"]))


def process_seen(at):
    seen = [path for path in glob.glob("/proc/[0-9]*/cmdline")
            if b"victim" in open(path, "rb").read()]
    if not seen:
        raise OSError("not in /proc")
    return seen[0]


def process_signalled(at):
    os.kill(int(at["pid"]), 0)
    return "signal 0"


def process_held(at):
    return os.pidfd_open(int(at["pid"]))


def abstract_socket(at):
    return connect_any(["\0bob-secret"])


def socket_by_path(at):
    return connect_any(everywhere("/tmp/socket") + everywhere("/data/socket") +
                       everywhere(at["state"] + "/data/bob/socket"))


def socket_of_the_host(at):
    found = glob.glob(at["run"] + "/**/*", recursive=True)
    return connect_any([at["listen"], at["run"] + "/control.sock"] + found +
                       ["/run/systemd/journal/socket", "/dev/log"])


def shared_memory_file(at):
    return read_any(everywhere("/dev/shm/secret"))


def system_v_memory(at):
    shmid = called(libc.shmget(KEY, 0, 0))
    libc.shmat.restype = ctypes.c_void_p
    return ctypes.string_at(libc.shmat(shmid, None, 0o10000), 10).decode()


def system_v_queue(at):
    return called(libc.msgget(KEY, 0))


def system_v_semaphore(at):
    return called(libc.semget(KEY, 0, 0))


def posix_queue(at):
    return called(libc.mq_open(b"/bob-secret", os.O_RDONLY))


def run(names, at):
    said = {}
    for name in names:
        try:
            said[name] = ["got", str(globals()[name](at))]
        except (OSError, ValueError) as error:
            said[name] = ["denied", str(error)]
    return said


def asked():
    return dict(urllib.parse.parse_qsl(os.environ.get("QUERY_STRING", "")))
'''

STRANGER = ATTEMPTS + r'''
at = asked()
print("Content-Type: application/json\n")
print(json.dumps(run(at["names"].split(","), at)))
'''

VICTIM = ATTEMPTS + r'''
at = asked()
at["pid"] = str(os.getpid())
kept = []  # bob-secret stands in the code, too


def keep(path, text=SECRET):
    with open(path, "wb") as file:
        file.write(text)
    os.chmod(path, 0o666)


def listen(address):
    made = socket.socket(socket.AF_UNIX)
    try:
        made.bind(address)
    except PermissionError:  # nobody makes one there, where Landlock is
        assert address == "/data/socket"
        return
    made.listen(8)
    kept.append(made)
    if isinstance(address, str) and address.startswith("/"):
        os.chmod(address, 0o777)


for path in ("/data/socket", "/data/enough", "/data/own"):
    if os.path.exists(path):
        os.unlink(path)
os.chmod("/data", 0o777)
for path in ("/data/secret", "/tmp/secret", "/dev/shm/secret"):
    keep(path)
for address in ("\0bob-secret", "/tmp/socket", "/data/socket"):
    listen(address)
shmid = libc.shmget(KEY, 4096, 0o1666)
libc.shmat.restype = ctypes.c_void_p
if shmid >= 0:
    ctypes.memmove(libc.shmat(shmid, None, 0), SECRET, 10)
libc.msgget(KEY, 0o1666)
libc.semget(KEY, 1, 0o1666)
libc.mq_open(b"/bob-secret", os.O_CREAT | os.O_RDWR, 0o666, None)
sys.stderr.write("bob-" + "secret in the log\n")
sys.stderr.flush()
keep("/data/own", json.dumps(run(at["names"].split(","), at)).encode())
until = time.monotonic() + 60
while time.monotonic() < until and not os.path.exists("/data/enough"):
    time.sleep(0.05)
print("Content-Type: text/plain\n\ndone")
'''

# What reaches it from inside its sandbox, and what only from outside.
OWN = ["tmp", "environment", "process_seen", "process_signalled",
       "process_held", "abstract_socket", "socket_by_path", "data",
       "data_written", "code", "shared_memory_file", "system_v_memory",
       "system_v_queue", "system_v_semaphore"]
OUTSIDE = ["logs", "socket_of_the_host"]
FROM_OUTSIDE = OUTSIDE + ["data", "data_written", "code"]
NOBODY = ["posix_queue"]  # the filter has no such call, for anybody


def wait_for(path, timeout=60):
    until = time.monotonic() + timeout
    while not path.exists() or not path.read_text():
        assert time.monotonic() < until, f"no {path}"
        time.sleep(0.05)
    return path.read_text()


@pytest.fixture(scope="module")
def play(start, installed, reachable, as_user):
    """What the three got: {"stranger": {name: [verdict, words]}, …}."""
    start.installed = reachable if as_user else installed
    host = start.host({"alice/stranger.py": STRANGER,
                       "bob/victim.py": VICTIM}, as_user=as_user)
    host.sidecar("bob/victim", **{"env.PASSWORD": "bob-secret",
                                  "timeout": "80s"})
    at = {"functions": host.functions, "state": host.state,
          "run": host.run_dir, "log": host.log_path, "listen": host.socket,
          "accounting": host.accounting,
          "names": ",".join(OWN + OUTSIDE + NOBODY)}
    host.wait_served("/fn/alice/stranger")
    before = set(host.instances())
    victim = threads.begin(host.execute, "/fn/bob/victim",
                           QUERY_STRING=urllib.parse.urlencode(at))
    said = {"victim": json.loads(wait_for(host.state / "data/bob/own"))}
    # the kernel's number of it, which its tenant does not know
    at["pid"] = max(set(host.instances()) - before)
    query = urllib.parse.urlencode(at)
    answer, record = host.execute("/fn/alice/stranger", QUERY_STRING=query)
    assert (answer.status, record["outcome"]) == (200, "ok"), answer.text
    said["stranger"] = json.loads(answer.text)
    at["names"] = ",".join(FROM_OUTSIDE)
    outside = subprocess.run(
        [sys.executable, "-c", STRANGER],
        env={"QUERY_STRING": urllib.parse.urlencode(at)},
        stdout=subprocess.PIPE, text=True, check=True).stdout
    said["outside"] = json.loads(outside.split("\n\n", 1)[1])
    (host.state / "data/bob/enough").write_text("")
    answer, record = victim.result(60)
    assert (answer.status, record["outcome"]) == (200, "ok")
    said["records"] = (record, host)
    return said


@pytest.mark.parametrize("name", OWN + OUTSIDE + NOBODY)
def test_a_tenant_reaches_nothing_of_another(play, name):
    verdict, words = play["stranger"][name]
    assert verdict == "denied", words


@pytest.mark.parametrize("name", OWN)
def test_the_attempt_would_find_it_in_its_own_sandbox(play, name):
    verdict, words = play["victim"][name]
    assert verdict == "got", words


@pytest.mark.parametrize("name", FROM_OUTSIDE)
def test_the_attempt_would_find_it_outside(play, name):
    verdict, words = play["outside"][name]
    assert verdict == "got", words


def test_the_victim_was_not_disturbed(play):
    record, host = play["records"]
    assert record["signal"] in (None, 0)
    host.wait_log("bob-secret in the log")


def test_tenants_have_other_ids_and_folders_of_their_own(play, as_user):
    """But for a user's: to the machine all of it is his."""
    _, host = play["records"]
    alice, bob = [(host.state / "data" / name).stat()
                  for name in ("alice", "bob")]
    assert (alice.st_uid == bob.st_uid) is as_user
    assert (alice.st_gid == bob.st_gid) is as_user
    assert alice.st_mode & 0o077 == 0
