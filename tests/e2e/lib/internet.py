"""Runs a command on a machine of its own, as far as the network is concerned:

    internet.py LOG COMMAND ARGUMENT…

A network namespace plays the machine (203.0.113.2), with /run and /etc of its own;
a second, `world`, what is around it: the internet, a private network with a
resolver, metadata; a third, `lan`, a neighbour for whom the machine is no router.
Everywhere somebody listens, at port 80 by TCP (with an answer of HTTP) and UDP,
and writes a line to LOG: "tcp ADDRESS", "udp ADDRESS".  The command takes this
process's place; all else ends with it.
"""
import ctypes
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1

MACHINE = ("203.0.113.2", "192.168.55.1")
PUBLIC = "203.0.113.9"
RESOLVER = "10.0.0.53"
# what stands in the world beside, and is nobody's to reach
PRIVATE = ("169.254.169.254", "168.63.129.16", "10.0.0.1", "10.0.0.5",
           "172.16.9.9", "192.168.7.7", "100.64.0.9", "192.0.0.9", "198.18.7.7")
PORT = 80

libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    if result != 0:
        sys.exit(os.strerror(ctypes.get_errno()))


def ip(*words):
    subprocess.run(["ip", *" ".join(words).split()], check=True)


def own_places():
    """/run and /etc that nobody else sees."""
    checked(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    checked(libc.mount(b"none", b"/run", b"tmpfs", 0, b"mode=0755"))
    shutil.copytree("/etc", "/run/etc", symlinks=True,
                    ignore_dangling_symlinks=True)
    checked(libc.mount(b"/run/etc", b"/etc", None, MS_BIND, None))
    pathlib.Path("/etc/resolv.conf").unlink(missing_ok=True)
    pathlib.Path("/etc/resolv.conf").write_text(f"nameserver {RESOLVER}\n")


def cables():
    ip("link set lo up")
    for name, outside, inside in (("world", "up0", "w0"), ("lan", "lan0", "l0")):
        ip("netns add", name)
        ip("link add", outside, "type veth peer name", inside, "netns", name)
        ip("link set", outside, "up")
        ip("-n", name, "link set lo up")
        ip("-n", name, "link set", inside, "up")
    ip("addr add 203.0.113.2/24 dev up0")
    ip("addr add 192.168.55.1/24 dev lan0")
    for address in ("203.0.113.1/24", f"{PUBLIC}/24", f"{RESOLVER}/32",
                    *(f"{one}/32" for one in PRIVATE)):
        ip("-n world addr add", address, "dev w0")
    ip("route add default via 203.0.113.1")
    ip("-n lan addr add 192.168.55.2/24 dev l0")
    ip("-n lan route add default via 192.168.55.1")
    # back to the neighbour and to the functions, if anybody lets it through
    ip("-n world route add 192.168.55.0/24 via 203.0.113.2")
    ip("-n world route add 198.18.0.0/24 via 203.0.113.2")


# -------------------------------------------------------------------- listeners


def resolve(query):
    """An answer to any question for an address: PUBLIC, and none by IPv6."""
    end = query.index(b"\0", 12) + 5
    is_a = query[end - 4:end - 2] == b"\0\1"
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(PUBLIC)
    return (query[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0") +
            b"\0\0\0\0" + query[12:end] + (answer if is_a else b""))


def listen(addresses):
    made = []
    for address in addresses:
        for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
            made.append(socket.socket(socket.AF_INET, kind))
            made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made[-1].bind((address, PORT))
            if kind == socket.SOCK_STREAM:
                made[-1].listen(64)
    return made


def answer(one, log):
    address, port = one.getsockname()
    if one.type == socket.SOCK_STREAM:
        log.write(f"tcp {address}\n".encode())
        with one.accept()[0] as client:
            client.settimeout(5)
            client.recv(4096)
            client.sendall(b"HTTP/1.0 200 OK\r\n\r\nthe internet\n")
        return
    said, whose = one.recvfrom(4096)
    if port == 53:
        one.sendto(resolve(said), whose)
    else:
        log.write(f"udp {address}\n".encode())


def serve(namespace, addresses, path):
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if namespace is not None:
        with open(f"/run/netns/{namespace}", "rb") as file:
            checked(libc.setns(file.fileno(), CLONE_NEWNET))
    listeners = listen(addresses)
    if RESOLVER in addresses:
        listeners.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        listeners[-1].bind((RESOLVER, 53))
    with open(path, "ab", buffering=0) as log:
        log.write(b"ready\n")
        while True:
            for one in select.select(listeners, [], [])[0]:
                try:
                    answer(one, log)
                except OSError:
                    pass


def main():
    path, command = sys.argv[1], sys.argv[2:]
    checked(libc.unshare(CLONE_NEWNET | CLONE_NEWNS))
    own_places()
    cables()
    with open(path, "wb"):
        pass
    for namespace, addresses in ((None, ("0.0.0.0",)), ("lan", ("192.168.55.2",)),
                                 ("world", (PUBLIC, RESOLVER, *PRIVATE))):
        if os.fork() == 0:
            serve(namespace, addresses, path)
    while pathlib.Path(path).read_bytes().count(b"ready") < 3:
        pass
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
