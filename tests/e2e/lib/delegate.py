"""Starts a command in a cgroup v2 that is given to a user, as a service manager
delegates one (Delegate=yes) to the service or scope of an ordinary user.

    delegate.py NAME UID GID COMMAND ARGUMENT…

A process that stands in the root has a cgroup NAME made; any other cgroup, which is
then its scope, is given itself.
"""
import os
import pathlib
import sys

FILES = ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control")


def mount():
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[2] == "cgroup2":
            return line.split()[1]
    sys.exit("no cgroup v2 is mounted")


def own():
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return line[3:]
    sys.exit("this process is in no cgroup v2")


def main():
    name, uid, gid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    place = pathlib.Path(mount() + own())
    if own() == "/":
        place = place / name
        place.mkdir(exist_ok=True)
        (place / "cgroup.procs").write_text("0")
    for path in (place, *(place / file for file in FILES)):
        os.chown(path, uid, gid)
    os.execv(sys.argv[4], sys.argv[4:])


if __name__ == "__main__":
    main()
