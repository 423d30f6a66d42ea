"""Functions in JavaScript against node itself."""
import shutil
import statistics

import rows as rows_room
from rig import PATH, Process, Trouble

INSTANCES = 2
# a node that has just been started is not at rest at once
PAUSE_MS = 300
FUNCTION = """export default {
	fetch() { return new Response('hello world\\n'); },
};
"""
SCRIPT = "#!/usr/bin/node\nconsole.log('hello world');\n"
SERVER = """require('node:http').createServer((req, res) => {
	res.setHeader('Content-Type', 'text/plain');
	res.end('hello world\\n');
}).listen(process.argv[2]);
"""


def cold_rows(rig, times):
    """The first byte where no program is warm."""
    if shutil.which("node", path=PATH) is None:
        raise Trouble("node is missing: install it with: apt-get install nodejs")
    script = rig.dir / "script"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    host = rig.host({"cold.mjs": FUNCTION}, rows_room.function("cold", idle=0),
                    installed=rig.installed_with(node={"spare": 4}))
    count = max(3, round(times.seconds * 3))
    rows = {}
    for number in range(times.rounds):
        rows_room.say(f"  round {number + 1} of {times.rounds}")
        bare = rig.exec_load("-n", count, "-w", PAUSE_MS,
                             script)["first_byte_us"]["p50"]
        found = {}
        for start, us in rows_room.cold_run(rig, host, count, PAUSE_MS):
            found.setdefault(start, []).append(us)
        for start, samples in sorted(found.items()):
            bar = {"spare": 1 / 30}.get(start)
            row = rows.setdefault(start, rows_room.Row(
                f"first byte, fetch handler, {start}", "bare node script", bar,
                " µs", True))
            row.add(statistics.median(samples), bare)
    return list(rows.values())


def warm_rows(rig, times):
    """Requests through nginx; the peer has one process, and so have we."""
    server = rig.dir / "server.cjs"
    server.write_text(SERVER)
    path = rig.dir / "node.sock"
    Process(rig, "node", [shutil.which("node", path=PATH), server, path], path)
    path.chmod(0o666)
    host = rig.host({"hello.mjs": FUNCTION},
                    rows_room.function("hello", instances=1),
                    installed=rig.installed_with(node={}))
    # a location of its own beside the one that nginx() makes
    proxy = (f"}} location = /hello {{ proxy_pass http://unix:{path}:/; "
             "proxy_http_version 1.1; } location /nowhere {")
    ports = rig.nginx({"ours": (host.socket, True, ""),
                       "theirs": (host.socket, False, proxy)})
    row = rows_room.Row("fetch handler, nginx, 16 connections, keep_conn on",
                        "node:http behind nginx, 1 process")
    rig.wrk(ports["ours"], "/fn/hello", 1, 1)
    rows_room.alternate(times, [(
        row, lambda: rig.wrk(ports["ours"], "/fn/hello", 16, times.seconds),
        lambda: rig.wrk(ports["theirs"], "/hello", 16, times.seconds))])
    return [row]


def node(rig, times):
    """(n) functions in JavaScript."""
    return [*cold_rows(rig, times), *warm_rows(rig, times)]
