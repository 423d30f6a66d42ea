"""The installed host as systemd's service, and what is known of it."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

from lib import books as books_room, fcgi

UNIT = "fcgi-host.service"
INI = pathlib.Path(os.environ["SYSCONFDIR"]) / "fcgi-host/fcgi-host.ini"
CGROUPS = pathlib.Path("/sys/fs/cgroup")
NGINX, NGINX_KEPT = 8080, 8081


def setting(key):
    """What the installed configuration says."""
    return re.search(rf"^{key} = (.*)$", INI.read_text(), re.M)[1]


SOCKET = setting("listen")
FUNCTIONS = pathlib.Path(setting("functions"))
BOOKS = books_room.Books(setting("accounting"))
LOGS = pathlib.Path(setting("accounting")).parent


def run(*command, timeout=90, is_checked=True):
    """A command's end: what it said and how it ended."""
    done = subprocess.run([str(word) for word in command], text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=timeout)
    assert not is_checked or done.returncode == 0, \
        f"{command} ended with {done.returncode}:\n{done.stdout}\n{journal()}"
    return done


def systemctl(*words, **more):
    return run("systemctl", *words, **more)


def shown(*names, unit=UNIT):
    """Properties of the unit, as systemd tells them."""
    said = systemctl("show", unit, "-p", ",".join(names)).stdout
    return dict(line.split("=", 1) for line in said.splitlines())


def journal(lines=30):
    """What the service said last."""
    return subprocess.run(["journalctl", "-q", "-u", UNIT, "-n", str(lines),
                           "-o", "cat", "--no-pager"], text=True,
                          stdout=subprocess.PIPE).stdout


def main_pid():
    return int(shown("MainPID")["MainPID"])


def cgroup():
    """The unit's place, as a directory."""
    return CGROUPS / shown("ControlGroup")["ControlGroup"].lstrip("/")


def again():
    """A restart that systemd's count of starts does not forbid."""
    systemctl("reset-failed", UNIT, is_checked=False)
    systemctl("restart", UNIT)


def wait(claim, timeout=30, what="it"):
    """The first value of claim() that is true."""
    until = time.monotonic() + timeout
    while True:
        found = claim()
        if found:
            return found
        assert time.monotonic() < until, f"{what} is not so:\n{journal()}"
        time.sleep(0.05)


def add(name, source, **keys):
    """Drops a function with its sidecar, and waits until it is served."""
    path = FUNCTIONS / name
    path.parent.mkdir(exist_ok=True)
    new = path.with_name(f".{path.name}")
    if keys:
        path.with_suffix(".ini").write_text("[function]\n" + "".join(
            f"{key} = {value}\n" for key, value in keys.items()))
    if isinstance(source, pathlib.Path):
        shutil.copy(source, new)
    else:
        new.write_text(source)
    new.chmod(0o755)
    new.rename(path)
    url = f"/fn/{name.rpartition('.')[0]}?head"
    wait(lambda: fetch(url).status == 200, what=f"{url} is served")


def fetch(url, body=b"", **params):
    return fcgi.fetch(SOCKET, url, body, **params)


def execute(url, **params):
    """(answer, its record)"""
    request_id = "t" + os.urandom(10).hex()
    answer = fetch(url, REQUEST_ID=request_id, **params)
    return answer, BOOKS.wait_request(request_id)


def told(verb):
    """What a verb says in JSON, however it ends."""
    return json.loads(run("fcgi-host", verb, "--json",
                          is_checked=False).stdout)
