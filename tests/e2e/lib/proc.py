"""Facts about processes, from /proc."""
import collections
import ctypes
import os
import pathlib
import re


def stat(pid):
    """(comm, state, ppid, pgrp, session) or None."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    comm = text[text.index("(") + 1:text.rindex(")")]
    rest = text[text.rindex(")") + 2:].split()
    return comm, rest[0], int(rest[1]), int(rest[2]), int(rest[3])


def children_table():
    table = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            facts = stat(entry)
            if facts:
                table.setdefault(facts[2], []).append(int(entry))
    return table


def descendants(pid):
    """Every process below pid, pid itself not counted."""
    table, found, todo = children_table(), [], [pid]
    while todo:
        for child in table.get(todo.pop(), []):
            found.append(child)
            todo.append(child)
    return found


def is_alive(pid):
    facts = stat(pid)
    return facts is not None and facts[1] not in "ZX"


def program(pid):
    """The base name of what runs there, "" when it cannot be read."""
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return ""


def command_line(pid):
    """The arguments, joined by blanks; "": the process is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as text:
            return text.read().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def environ(pid):
    """As it was at its exec; nothing of one that is gone or not to be read."""
    try:
        return pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def status(pid):
    """/proc/PID/status as a dict of texts."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines()
                if ":\t" in line)


def rss_kib(pid):
    return int(status(pid)["VmRSS"].split()[0])


def peak_rss_kib(pid):
    return int(status(pid)["VmHWM"].split()[0])


def pss_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text() \
            .splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise AssertionError("no Pss in smaps_rollup")


def wakeups(pid):
    """Context switches of all threads, by choice or not."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        text = pathlib.Path(f"/proc/{pid}/task/{task}/status").read_text()
        total += sum(int(line.split()[1]) for line in text.splitlines()
                     if "ctxt_switches" in line)
    return total


def links(pid):
    """What each open descriptor leads to, as the kernel says it."""
    found = []
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
            except OSError:
                continue
    except FileNotFoundError:  # it has ended
        pass
    return found


def descriptors(pid):
    """The same with the numbers left out: the instances of today are not those of
    before."""
    return sorted(re.sub(r"\d+", "N", target.split(":[")[0])
                  for target in links(pid))


def listening(pid):
    """How many sockets of Unix that listen a process has open."""
    unix = pathlib.Path("/proc/net/unix").read_text().splitlines()[1:]
    nodes = {f"socket:[{line.split()[6]}]" for line in unix
             if line.split()[3] == "00010000"}
    found = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found += os.readlink(f"/proc/{pid}/fd/{fd}") in nodes
        except FileNotFoundError:
            pass  # closed meanwhile
    return found


MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ \S+ *(.*)$")


def memory(pid):
    """(name, flags, bytes) of each mapping of it that can be read."""
    found, head = [], None
    with open(f"/proc/{pid}/smaps", encoding="ascii") as smaps, \
            open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in smaps:
            if line.startswith("VmFlags:") and head is not None:
                start, end = int(head[1], 16), int(head[2], 16)
                try:
                    mem.seek(start)
                    found.append((head[3], line.split()[1:],
                                  mem.read(end - start)))
                except (OSError, ValueError, OverflowError):
                    pass  # the kernel's own
            elif not line.split()[0].endswith(":"):
                head = MAPPING.match(line)
    return found


def cgroup_v2_mount():
    """Where the v2 hierarchy is mounted, or None."""
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[2] == "cgroup2":
            return line.split()[1]
    return None


def cgroup_v2(pid):
    """The process's place in the v2 hierarchy, as a directory, or None."""
    mount = cgroup_v2_mount()
    try:
        text = pathlib.Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    for line in text.splitlines():
        if line.startswith("0::") and mount is not None:
            return pathlib.Path(mount + line[3:].removesuffix(" (deleted)"))
    return None


def mounts(pid):
    """{mount point: how many are there}"""
    return collections.Counter(
        line.split()[4] for line in
        pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines())


def has_landlock():
    """Whether this kernel has it, by asking for its version."""
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.syscall(444, None, 0, 1) > 0
