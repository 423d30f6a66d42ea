"""Functions in JavaScript against node itself."""
import shutil
import statistics

import rows as rows_room
from rig import PATH, Process, Trouble

INSTANCES = 2
# a node that has just been started is not at rest at once
PAUSE_MS = 500
FUNCTIONS = {
    "fetch.mjs": """export default {
	fetch() { return new Response('hello world\\n'); },
};
""",
    "plain.cjs": """module.exports = (req, res) => {
	res.setHeader('Content-Type', 'text/plain');
	res.end('hello world\\n');
};
"""}
SHAPES = {"fetch": "fetch handler", "plain": "(req, res)"}
SCRIPT = "#!/usr/bin/node\nconsole.log('hello world');\n"
# what node itself loads for a Request and a Response is the platform's
SAME = """#!/usr/bin/node
const app = { fetch() { return new Response('hello world\\n'); } };
app.fetch(new Request('http://localhost/')).text().then((text) =>
	process.stdout.write(text));
"""
SERVER = """require('node:http').createServer((req, res) => {
	res.setHeader('Content-Type', 'text/plain');
	res.end('hello world\\n');
}).listen(process.argv[2]);
"""


def cold_rows(rig, times):
    """The first byte where no program is warm."""
    if shutil.which("node", path=PATH) is None:
        raise Trouble("node is missing: install it with: apt-get install nodejs")
    scripts = {"bare node script": SCRIPT, "the same in a bare script": SAME}
    for peer, text in scripts.items():
        path = rig.dir / peer
        path.write_text(text)
        path.chmod(0o755)
    host = rig.host(FUNCTIONS, "".join(rows_room.function(name, idle=0)
                                       for name in SHAPES),
                    installed=rig.installed_with(node={"spare": 4}))
    count = max(3, round(times.seconds * 3))
    rows = {}
    for number in range(times.rounds):
        rows_room.say(f"  round {number + 1} of {times.rounds}")
        bare = {peer: rig.exec_load("-n", count, "-w", PAUSE_MS,
                                    rig.dir / peer)["first_byte_us"]["p50"]
                for peer in scripts}
        for name in SHAPES:
            cold_round(rig, rows, host, count, name, bare)
    return list(rows.values())


def cold_round(rig, rows, host, count, name, bare):
    found = {}
    for start, us in rows_room.cold_run(rig, host, count, PAUSE_MS, name):
        found.setdefault(start, []).append(us)
    for start, samples in sorted(found.items()):
        for peer, us in bare.items():
            # a start that found a spare loads nothing of the platform's
            is_same = peer.startswith("the same")
            if is_same and (start == "spare" or name != "fetch"):
                continue
            bar = 1.3 if is_same else 1 / 30 if start == "spare" else None
            row = rows.setdefault((name, start, peer), rows_room.Row(
                f"first byte, {SHAPES[name]}, {start}", peer, bar, " µs",
                True))
            row.add(statistics.median(samples), us)


def warm_rows(rig, times):
    """Requests through nginx; the peer has one process, and so have we."""
    server = rig.dir / "server.cjs"
    server.write_text(SERVER)
    path = rig.dir / "node.sock"
    Process(rig, "node", [shutil.which("node", path=PATH), server, path], path)
    path.chmod(0o666)
    host = rig.host(FUNCTIONS, "".join(rows_room.function(name, instances=1)
                                       for name in SHAPES),
                    installed=rig.installed_with(node={}))
    # a location of its own beside the one that nginx() makes
    proxy = (f"}} location = /hello {{ proxy_pass http://unix:{path}:/; "
             "proxy_http_version 1.1; } location /nowhere {")
    ports = rig.nginx({"ours": (host.socket, True, ""),
                       "theirs": (host.socket, False, proxy)})
    rows, pairs = [], []
    for name, what in SHAPES.items():
        rig.wrk(ports["ours"], f"/fn/{name}", 1, 1)
        rows.append(rows_room.Row(
            f"{what}, nginx, 16 connections, keep_conn on",
            "node:http behind nginx, 1 process"))
        pairs.append((
            rows[-1], lambda name=name: rig.wrk(ports["ours"], f"/fn/{name}",
                                                16, times.seconds),
            lambda: rig.wrk(ports["theirs"], "/hello", 16, times.seconds)))
    rows_room.alternate(times, pairs)
    return rows


def node(rig, times):
    """(n) functions in JavaScript."""
    return [*cold_rows(rig, times), *warm_rows(rig, times)]
