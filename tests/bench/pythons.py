"""Python: warm against uWSGI, and cold against `python3 SCRIPT`."""
import re
import statistics

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


def section(rig, name, **keys):
    """[runtime wsgi] by another name."""
    text = rig.place().section("wsgi", **keys)
    return text.replace("[runtime wsgi]", f"[runtime {name}]").replace(
        "extensions = wsgi", f"extensions = {name}")


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
    host = rig.host({"hello.measured": WSGI}, section(rig, "measured") +
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
    rows = {}
    for imports in ("", IMPORTS):
        script = rig.dir / "script.py"
        script.write_text(SCRIPT % (imports, HELLO))
        script.chmod(0o755)
        modules = " ".join(re.findall(r"[a-z]+\.?[a-z]*", imports[7:]))
        hosts = [rig.host({"cold.measured": HANDLER % (imports, HELLO)},
                          section(rig, "measured", **keys) +
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
