"""Runs a command in a network namespace of its own, where the metadata address
and a private one stand on the loopback with a listener that counts, by TCP and
UDP; and one at the abstract socket fcgi-host-probe.

    netns.py COUNT PORT COMMAND ARGUMENT…

Each connection and each datagram adds a byte to the file COUNT.  The command takes this process's
place; the listener, whose number stands in COUNT.pid, ends with it.  An ordinary
user has a user namespace around it, in which he is himself and without rights.
"""
import ctypes
import fcntl
import os
import pathlib
import select
import socket
import struct
import sys

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8914, 0x8916, 0x891c
IFF_UP = 1
ADDRESSES = ("127.0.0.1", "169.254.169.254", "10.0.0.1")
ABSTRACT = "\0fcgi-host-probe"

libc = ctypes.CDLL(None, use_errno=True)


def enter():
    """The namespaces, while this process still has every right over them."""
    uid, gid = os.geteuid(), os.getegid()
    kinds = CLONE_NEWNET if uid == 0 else CLONE_NEWNET | CLONE_NEWUSER
    if libc.unshare(kinds) != 0:
        sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
    if uid != 0:
        own = pathlib.Path("/proc/self")
        (own / "setgroups").write_text("deny")
        (own / "uid_map").write_text(f"{uid} {uid} 1")
        (own / "gid_map").write_text(f"{gid} {gid} 1")


def raise_loopback():
    """By ioctl: a program for it would run without the rights of an ordinary
    user's namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        fcntl.ioctl(asked, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
        for number, address in enumerate(ADDRESSES[1:]):
            for request, value in ((SIOCSIFADDR, address),
                                   (SIOCSIFNETMASK, "255.0.0.0")):
                fcntl.ioctl(asked, request, struct.pack(
                    "16sH2x4s8x", f"lo:{number}".encode(), socket.AF_INET,
                    socket.inet_aton(value)))


def listen(port):
    made = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)]
    made[0].bind(ABSTRACT)
    for address in ADDRESSES:
        for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
            made.append(socket.socket(socket.AF_INET, kind))
            made[-1].bind((address, port))
    for one in made:
        if one.type == socket.SOCK_STREAM:
            one.listen(64)
    return made


def count(listeners, path, command):
    """Ends with the command, which may have become an ordinary user's: then the
    kernel would send no signal of its death."""
    with open(path, "ab", buffering=0) as out:
        while True:
            ready = select.select([*listeners, command], [], [])[0]
            if command in ready:
                os._exit(0)
            for one in ready:
                if one.type == socket.SOCK_STREAM:
                    one.accept()[0].close()
                else:
                    one.recv(1)
                out.write(b"x")


def main():
    path, port, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    enter()
    raise_loopback()
    listeners = listen(port)
    with open(path, "wb"):
        pass
    own = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid == 0:
        count(listeners, path, own)
    pathlib.Path(f"{path}.pid").write_text(str(pid))
    os.close(own)
    for one in listeners:
        one.close()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
