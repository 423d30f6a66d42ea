"""Instructions that the gateway executes for a request, by function: callgrind
counts them one by one, where perf finds no counters or other work disturbs it.

The gateway is tests/bench/unconfined, started through valgrind.  A run of few and
one of many requests are compared, so that the start counts for neither.
"""
import os
import re
import subprocess

import rig as rig_room

FEW, MANY = 200, 2200
TOP = 30
# What nginx's fastcgi_params and a browser's request make of it, about.
PARAMS = [
    "QUERY_STRING=a=1&b=2", "REQUEST_METHOD=GET", "CONTENT_TYPE=",
    "CONTENT_LENGTH=", "REQUEST_URI={path}?a=1&b=2", "DOCUMENT_URI={path}",
    "SCRIPT_NAME={path}", "DOCUMENT_ROOT=/var/www/html",
    "SERVER_PROTOCOL=HTTP/1.1", "REQUEST_SCHEME=http",
    "GATEWAY_INTERFACE=CGI/1.1", "SERVER_SOFTWARE=nginx/1.22.1",
    "REMOTE_ADDR=192.0.2.7", "REMOTE_PORT=51234", "SERVER_ADDR=192.0.2.1",
    "SERVER_PORT=80", "SERVER_NAME=localhost", "REDIRECT_STATUS=200",
    "HTTP_HOST=localhost", "HTTP_ACCEPT=*/*",
    "HTTP_ACCEPT_ENCODING=gzip, deflate, br", "HTTP_ACCEPT_LANGUAGE=en",
    "HTTP_USER_AGENT=Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101",
    "HTTP_CONNECTION=keep-alive"]
WRAPPER = """#!/bin/sh
exec {valgrind} -q --tool=callgrind --callgrind-out-file=/callgrind.out \\
	{gateway} "$@"
"""


class Host(rig_room.SampleHost):
    def wait_role(self, name, timeout=30):
        """Its gateway goes by valgrind's name; it was ready before."""


def watched(rig):
    """This host's programs with the gateway under callgrind."""
    directory = rig.dir / "watched"
    directory.mkdir()
    installed = rig.installed.copy_to(directory)
    gateway = installed.libexec / "fcgi-host-gateway"
    gateway.unlink()
    gateway.write_text(WRAPPER.format(
        valgrind=rig_room.need("valgrind", "valgrind"),
        gateway=rig.tool("unconfined")))
    gateway.chmod(0o755)
    return installed


def run(rig, installed, load, requests):
    """{function: instructions} of a host's gateway, from start to end."""
    file, program, more = load
    host = Host(installed, more)
    rig.hosts.append(host)
    host.add(file, rig.tool(program))
    host.start()
    # it is written in the gateway's root, which goes with the host
    out = rig.dir / f"{requests}.callgrind"
    inside = host.run_dir / "instances/callgrind.out"
    inside.touch()
    os.link(inside, out)
    path = f"/fn/{file.partition('.')[0]}"
    done = rig.fcgi_load(host.socket, "-c1", "-k", "-n", requests, "-e",
                         rig_room.HELLO,
                         params=[one.format(path=path) for one in PARAMS])
    host.stop()
    if done["errors"] or out.stat().st_size == 0:
        raise rig_room.Trouble(f"{done['faults']}\n{host.log()[-2000:]}")
    return read(subprocess.run(
        [rig_room.need("callgrind_annotate", "valgrind"), "--auto=no",
         "--threshold=100", str(out)], stdout=subprocess.PIPE, text=True,
        check=True, timeout=60).stdout)


def read(text):
    """callgrind_annotate's table, as {function: instructions}."""
    found = {}
    for line in text.splitlines():
        one = re.match(r"\s*([\d,]+) \([ \d.]+%\)\s+(\S.*)$", line)
        if one is None:
            continue
        name = re.sub(r" \[[^]]*\]$", "", one[2])
        if name != "PROGRAM TOTALS":
            name = re.sub(r"^.*/", "", name)
        found[name] = found.get(name, 0) + int(one[1].replace(",", ""))
    return found


def per_request(few, many):
    """[(instructions of a request, function)], the most first."""
    found = [((count - few.get(name, 0)) / (MANY - FEW), name)
             for name, count in many.items()]
    return sorted(found, reverse=True)


def by_file(found):
    """The same, a file of ours or the C library's, all of its functions."""
    files = {}
    for count, name in found[1:]:
        file = name.partition(":")[0]
        files[file] = files.get(file, 0) + count
    return sorted(((count, file) for file, count in files.items()),
                  reverse=True)


def show(rig, load):
    installed = watched(rig)
    found = per_request(*(run(rig, installed, load, n) for n in (FEW, MANY)))
    print(f"\n-- gateway: instructions per request, by callgrind, "
          f"{MANY - FEW} requests")
    for count, name in found[:TOP + 1]:
        print(f"   {count:8.0f}  {name}")
    print("-- by file")
    for count, name in by_file(found)[:TOP // 2]:
        print(f"   {count:8.0f}  {name}")
