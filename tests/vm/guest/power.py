"""What the machine does whose power is cut (tests/vm/power.py): `cut` serves
requests with the accounting log on a disk that forgets what was not flushed, and
tells each answer on the serial line, until it is killed; `again` goes on with what
that disk holds, and hands the logs out."""
import itertools
import os
import pathlib
import subprocess
import sys
import threading
import time

import volatile_disk

from lib import chain, fcgi, host as host_room, programs as programs_room

PLACES = {"yes": pathlib.Path("/mnt/yes"), "no": pathlib.Path("/mnt/no")}
DISKS = {"yes": "/dev/ubdd", "no": "/dev/ubde"}
CACHES = {"yes": "/dev/nbd0", "no": "/dev/nbd1"}
CLIENTS = 3
OUT = pathlib.Path("/vm/out")


class Line:
    """The serial line; whole lines, of several threads."""

    def __init__(self):
        self.fd = os.open("/dev/ttyS0", os.O_WRONLY | os.O_NOCTTY)
        self.lock = threading.Lock()

    def say(self, *words):
        with self.lock:
            os.write(self.fd, (" ".join(words) + "\n").encode())


def mount(device, place):
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "ext4", device, place], check=True)


def make_host(sync):
    """Its log, and the key of that, on the disk; all else not."""
    place, run = PLACES[sync], pathlib.Path(f"/run/power-{sync}")
    run.mkdir(exist_ok=True)
    host = host_room.Host(programs_room.Installed(), {"host": {
        "accounting": place / "a.log", "sync": sync, "run": run,
        "chain_key": place / "chain.key"}})
    host.accounting = place / "a.log"
    host.add("swiss.cgi", pathlib.Path(os.environ["PROGRAMS"]) / "swiss.cgi")
    host.start()
    return host


def ask(host, sync, client, line):
    """Without an end; an answer is told when the last byte is here."""
    with host.connect() as connection:
        for lap in itertools.count():
            name = f"{sync}-{client}-{lap}"
            connection.send(fcgi.request_bytes(
                "/fn/swiss?head&raw=x", flags=fcgi.KEEP_CONN,
                REQUEST_ID=name))
            if connection.read_answer().is_complete:
                line.say("answered", sync, name)


def rotate(host, line):
    for lap in itertools.count():
        time.sleep(2)
        host.accounting.rename(host.accounting.with_name(f"old.{lap:03}"))
        done = host.verb("reopen")
        line.say("rotated" if done.returncode == 0 else
                 f"# no rotation: {done.stderr}")


def cut():
    line = Line()
    volatile_disk.load_driver("/vm/nbd.ko")
    for sync, place in PLACES.items():
        volatile_disk.serve(DISKS[sync], CACHES[sync])
        mount(CACHES[sync], place)
        line.say("key", sync, chain.new_key(place / "chain.key"))
    os.sync()
    hosts = {sync: make_host(sync) for sync in PLACES}
    for sync, host in hosts.items():
        for client in range(CLIENTS):
            threading.Thread(target=ask, args=(host, sync, client,
                                               line)).start()
    rotate(hosts["yes"], line)


def again():
    line = Line()
    for sync, place in PLACES.items():
        mount(DISKS[sync], place)
    host = make_host("yes")
    host.fetch("/fn/swiss?head", REQUEST_ID="again")
    host.stop()
    for sync, place in PLACES.items():
        (OUT / sync).mkdir(parents=True)
        for path in place.glob("*.*"):
            (OUT / sync / path.name).write_bytes(path.read_bytes())
    line.say("done")


if __name__ == "__main__":
    {"cut": cut, "again": again}[sys.argv[1]]()
