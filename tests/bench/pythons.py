"""Python: warm against uWSGI, and cold against `python3 SCRIPT`."""
import pathlib
import re
import shutil
import statistics
import tempfile

from lib import pyhost
from rig import HELLO, Process, Trouble, need

INSTANCES = 2
# between two cold starts: what one leaves to do, as a spare that boots, is done
PAUSE_MS = 300
WSGI = f'''def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [{HELLO.encode()!r}]
'''
SCRIPT = "#!/usr/bin/python3\n%sprint(%r, end='', flush=True)\n"
HANDLER = "%sdef handler(request):\n    return %r\n"
IMPORTS = "import json, urllib.request\n"
BARS = {("spare", ""): 1 / 15, ("spare", IMPORTS): 1 / 50,
        ("prepared", ""): 1.3, ("fresh", ""): None}


class Shelf:
    """The runtime where a sandbox can show it, which has a /tmp of its own."""

    def __init__(self, rig):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fhbench-",
                                                 dir="/var/lib"))
        self.dir.chmod(0o755)
        rig.made.append(self)
        shutil.copy(pyhost.program(rig.installed), self.dir)

    def stop(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def section(self, name, **keys):
        lines = [f"[runtime {name}]", f"extensions = {name}",
                 "protocol = fastcgi", f"bind = {self.dir}",
                 f"command = {self.dir}/{pyhost.NAME} %f",
                 *(f"{key} = {value}" for key, value in keys.items())]
        return "\n".join(lines) + "\n"


def uwsgi(rig, file):
    path = rig.dir / "uwsgi.sock"
    Process(rig, "uwsgi", [
        need("uwsgi-core", "uwsgi-core uwsgi-plugin-python3"), "--plugin",
        "python3", "--uwsgi-socket", path, "--chmod-socket=666", "--listen", "100",
        "--master", "--processes", INSTANCES, "--disable-logging", "--need-app",
        "--die-on-term", "--wsgi-file", file], path)
    return path


def warm(rig, times, tools):
    """The same application, equal numbers of processes."""
    file = rig.dir / "hello.py"
    file.write_text(WSGI)
    host = rig.host({"hello.measured": WSGI}, Shelf(rig).section("measured") +
                    f"[function hello]\ninstances = {INSTANCES}\n")
    ports = rig.nginx({
        "kept": (host.socket, True, ""), "plain": (host.socket, False, ""),
        "theirs": (uwsgi(rig, file), False, "", "uwsgi")})
    rows, pairs = [], []
    for site, word, bar in (("kept", "on", 0.9), ("plain", "off", None)):
        row = tools.Row(f"Python WSGI, nginx, 16 connections, keep_conn {word}",
                        f"uWSGI, {INSTANCES} processes", bar)
        rows.append(row)
        pairs.append((row, lambda s=site: rig.wrk(
            ports[s], "/fn/hello", 16, times.seconds),
            lambda: rig.wrk(ports["theirs"], "/fn/hello", 16, times.seconds)))
    tools.warm(rig, ports, "/fn/hello")
    tools.alternate(times, pairs)
    return rows


def cold(rig, times, tools):
    """The first byte of a handler that has scaled to zero, by what it found, against
    the first byte of a script that prints the same."""
    count = max(5, round(times.seconds * 5))
    shelf, rows = Shelf(rig), {}
    for imports in ("", IMPORTS):
        script = rig.dir / "script.py"
        script.write_text(SCRIPT % (imports, HELLO))
        script.chmod(0o755)
        modules = " ".join(re.findall(r"[a-z]+\.?[a-z]*", imports[7:]))
        hosts = [rig.host({"cold.measured": HANDLER % (imports, HELLO)},
                          shelf.section("measured", **keys) +
                          "[function cold]\nidle = 0\n", host_keys)
                 for keys, host_keys in (
                     ({"spare": 1, "preload": modules}, {}), ({}, {}),
                     ({}, {"max_prepared": 0}))]
        for number in range(times.rounds):
            tools.say(f"  round {number + 1} of {times.rounds}")
            theirs = rig.exec_load("-n", count, "-w", 20, script)
            for host in hosts:
                cold_round(rig, host, count, imports, theirs, rows, tools)
        for host in hosts:
            host.stop()
    return list(rows.values())


def cold_round(rig, host, count, imports, theirs, rows, tools):
    found = {}
    for start, us in tools.cold_run(rig, host, count, PAUSE_MS):
        found.setdefault(start, []).append(us)
    for start, samples in sorted(found.items()):
        what = "json and urllib.request" if imports else "no import"
        row = rows.setdefault((start, imports), tools.Row(
            f"first byte, Python handler, {what}, {start}", "python3 SCRIPT",
            BARS.get((start, imports)), " µs", True))
        row.add(statistics.median(samples), theirs["first_byte_us"]["p50"])
    if not found:
        raise Trouble("no cold start was measured")
