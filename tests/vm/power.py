"""The power cut: a machine is killed under load, its disk keeps what was flushed
and nothing else (guest/volatile_disk.py), and it is booted again.  With sync = yes
every answer that had come outside by then has its record."""
import json
import os
import random
import re
import selectors
import subprocess
import time

import machine as machine_room
from lib import books, chain

DISK_BYTES = 64 << 20
ANSWERS, ROTATIONS = 100, 2
SECONDS = 150
ANSWERED = re.compile(r"answered (yes|no) (\S+)$")
KEY = re.compile(r"key yes ([0-9a-f]{64})$")
# The kernel's driver of disks that are served by a process.
DRIVER = "kernel/drivers/block/nbd.ko"
# It takes a while to start, and is not asked.
NO_NGINX = "systemd.mask=nginx.service"
KEPT = "after a power cut every answer that was received has its record, once"
CHAINED = "after a power cut the chain goes on"
FORGOT = "the disk of the power cut forgets what was not flushed"


def make_disk(path):
    with open(path, "wb") as disk:
        disk.truncate(DISK_BYTES)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", path],
                   check=True, env={**os.environ,
                                    "PATH": os.environ["PATH"] + ":/usr/sbin"})
    return path


def lines_of(one, seconds=SECONDS):
    """What the machine says on its serial line, until it ends."""
    until = time.monotonic() + seconds
    selector = selectors.DefaultSelector()
    selector.register(one.results, selectors.EVENT_READ)
    selector.register(one.console, selectors.EVENT_READ)
    while selector.get_map() and time.monotonic() < until:
        for key, _ in selector.select(1):
            lines = one.read(key.fd)
            if lines is None:
                selector.unregister(key.fd)
            elif key.fd == one.results:
                yield from lines


class Told:
    """What came out of the machine before its end."""

    def __init__(self):
        self.answered = {"yes": [], "no": []}
        self.rotations, self.key, self.last = 0, None, []

    def take(self, line):
        answer, key = ANSWERED.match(line), KEY.match(line)
        if answer:
            self.answered[answer[1]].append(answer[2])
        elif key:
            self.key = key[1]
        elif line == "rotated":
            self.rotations += 1
        else:
            self.last = (self.last + [line])[-20:]

    def is_enough(self):
        return self.rotations >= ROTATIONS and \
            all(len(names) >= ANSWERS for names in self.answered.values())


def cut(one, place):
    """Kills it under load, at any moment of its third second of enough."""
    told, end = Told(), None
    one.start(place, "vm=cut", NO_NGINX)
    try:
        for line in lines_of(one):
            told.take(line)
            if end is None and told.is_enough():
                end = time.monotonic() + random.uniform(0, 1)
            if end is not None and time.monotonic() > end:
                break
    finally:
        one.end()
    assert end is not None, f"it never came to load: {told.last}"
    return told


def again(one, place):
    one.start(place, "vm=again", NO_NGINX)
    try:
        said = list(lines_of(one))
    finally:
        one.end()
    out = one.unpack()
    assert "done" in said, f"it did not come up again: {said[-20:]}"
    return out


def logs_of(directory):
    """Its logs, the oldest first."""
    return [*sorted(directory.glob("old.*")), directory / "a.log"]


def ids_of(paths):
    records = [record for path in paths for record in books.Books(path).all()]
    return [r["request_id"] for r in records if r["type"] == "exec"]


def judge_kept(told, out):
    ids = ids_of(logs_of(out / "yes"))
    assert "again" in ids, "the host that was started again wrote nothing"
    assert len(ids) == len(set(ids)), "a record stands twice"
    lost = sorted(set(told.answered["yes"]) - set(ids))
    assert not lost, f"{len(lost)} of {len(told.answered['yes'])} answers " \
        f"have no record: {lost[:10]}"


def begins_anew(path):
    """Whether the file is the later host's own: what it follows on was known in
    the table alone, which is gone."""
    first = books.Books(path).all()[0]
    return first.get("event") == "start" and not first["prev"].strip("0")


def judge_chained(told, out):
    paths = logs_of(out / "yes")
    for path in paths:
        for line in path.read_bytes().splitlines(True):
            assert line.endswith(b"\n"), f"{path.name}: a torn line"
            json.loads(line)
    if not begins_anew(paths[-1]):
        chain.follow(paths, told.key)
        return None
    chain.follow(paths[:-1], told.key)
    chain.follow(paths[-1:], told.key)
    return "anew, behind a rename that nothing had followed on yet"


def judge_forgot(told, out):
    """Else the cut was none."""
    lost = set(told.answered["no"]) - set(ids_of(logs_of(out / "no")))
    assert lost, f"all of {len(told.answered['no'])} records outlived it"
    return f"{len(lost)} of {len(told.answered['no'])} records with sync = no"


def check(directory, base, job, results):
    """Results: where it says what came of it."""
    disks = [make_disk(directory / f"power.{name}") for name in ("yes", "no")]
    first, second = (machine_room.Machine(directory / name, base, job, disks)
                     for name in ("cut", "again"))
    place = machine_room.memory_place(1, directory)
    try:
        told = cut(first, place)
        first.unpack()
        out = again(second, place)
    except AssertionError as error:
        results.fail(KEPT, [str(error), *first.lines[-20:],
                            *second.lines[-20:]])
        return
    results.write(f"# {len(told.answered['yes'])} and "
                  f"{len(told.answered['no'])} answers, "
                  f"{told.rotations} rotations")
    for text, judge in ((KEPT, judge_kept), (CHAINED, judge_chained),
                        (FORGOT, judge_forgot)):
        try:
            what = judge(told, out)
            results.pass_(text + (f": {what}" if what else ""))
        except AssertionError as error:
            results.fail(text, [str(error)])
