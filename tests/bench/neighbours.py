"""What a bad neighbour costs: the p99 of one function with a hot, a broken or a
cold one beside it, against its p99 alone; by turns, in one host."""
import contextlib
import os
import statistics
import time

from rig import HELLO, Process, Trouble, programs

CLIENTS = 2
PAUSE_MS = 1
# Who would keep both: the first settles, the last ones end before they are due.
SETTLE_S = 1.0
# A function that was hot is so for a second more.
COOL_S = 1.5

NEIGHBOURS = {
    # four instances that burn 5 ms each, and twelve more who want them
    "hot": ("hot", 16, "head&cpu=5"),
    # each request starts a program that dies before it answers
    "broken": ("broken", 4, ""),
    # each request makes a whole sandbox and takes it down
    "cold": ("cold", 4, ""),
}


@contextlib.contextmanager
def ahead():
    """A client elsewhere has a processor of its own: here, where it shares
    ours, it goes before everybody, lest its own waiting be measured.  (A nice
    value would count only within its session.)"""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError as error:
        raise Trouble("the client cannot go before the others (SCHED_FIFO): "
                      "start as root, outside of a cpu cgroup of version 1 "
                      "without real-time budget") from error
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def victim(rig, times, path, clients=CLIENTS):
    """One who asks every millisecond."""
    with ahead():
        return rig.fcgi_load(path, "-c", clients, "-k", "-w", PAUSE_MS, "-q",
                             "-t", max(2, 2 * times.seconds), "-e", HELLO,
                             params=["SCRIPT_NAME=/fn/good"])


def compare(row, beside, alone):
    row.add(beside["first_byte_us"]["p99"], alone["first_byte_us"]["p99"],
            (beside["errors"], alone["errors"]))
    row.waits.append(beside["own_wait_us"]["p99"])
    row.lates.append(beside["timer_late_us"]["p99"])


def note_client(row):
    """What of it was the client's own waiting for a processor."""
    row.notes.append(
        f"p99 of the client's own wait {statistics.median(row.waits):.0f} µs, "
        f"of its timer {statistics.median(row.lates):.0f} µs")


def neighbour(rig, host, name):
    function, count, query = NEIGHBOURS[name]
    return Process(rig, f"load-{name}", [
        rig.tool("fcgi-load"), "-c", count, "-k", "-t", 3600, host.socket,
        f"SCRIPT_NAME=/fn/{function}", f"QUERY_STRING={query}"])


def scheduler(rig, times, row):
    """The control, without this host: a libfcgi program asked directly, beside
    four processes that burn.  What it loses is the machine's doing."""
    path = rig.spawn_fcgi("control", rig.tool("hello-fcgi"))
    victim(rig, times, path, 1)
    for _ in range(times.rounds):
        alone = victim(rig, times, path, 1)
        burners = [Process(rig, f"burner{n}",
                           ["/bin/sh", "-c", "while :; do :; done"])
                   for n in range(4)]
        time.sleep(SETTLE_S)
        beside = victim(rig, times, path, 1)
        for burner in burners:
            burner.stop()
            rig.made.remove(burner)
        compare(row, beside, alone)
    note_client(row)


def measure(rig, times, rows):
    """rows: {neighbour's name: Row}."""
    compiler = programs.Compiler(rig.dir)
    host = rig.host({
        "good.fcgi": rig.tool("hello-fcgi"), "hot.fcgi": compiler.fcgi,
        "broken.fcgi": "#!/bin/sh\nkill -SEGV $$\n",
        "cold.cgi": rig.tool("hello-cgi")}, "[function cold]\nidle = 0\n")
    victim(rig, times, host.socket)
    for _ in range(times.rounds):
        for name, row in rows.items():
            alone = victim(rig, times, host.socket)
            load = neighbour(rig, host, name)
            time.sleep(SETTLE_S)
            beside = victim(rig, times, host.socket)
            load.stop()
            rig.made.remove(load)
            compare(row, beside, alone)
            time.sleep(COOL_S)
    for row in rows.values():
        note_client(row)
