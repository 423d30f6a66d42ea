"""A disk with a cache that a power cut empties: what was written reaches the
disk behind it with the next flush, as the specification of every disk has it,
and not a moment earlier.  It speaks NBD with the kernel of this machine."""
import ctypes
import fcntl
import os
import socket
import struct

BLOCK = 4096
SET_SOCK, SET_BLKSIZE, DO_IT = 0xab00, 0xab01, 0xab03
SET_SIZE_BLOCKS, SET_FLAGS = 0xab07, 0xab0a
HAS_FLUSH_AND_FUA = 1 | 1 << 2 | 1 << 3
REQUEST = struct.Struct(">II8sQI")
REQUEST_MAGIC, REPLY_MAGIC = 0x25609513, 0x67446698
READ, WRITE, DISCONNECT, FLUSH = range(4)
FUA = 1 << 16
FINIT_MODULE = 313


def load_driver(path):
    """The kernel's nbd; there is no insmod here."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    with open(path, "rb") as module:
        if call(FINIT_MODULE, module.fileno(), b"nbds_max=2", 0) != 0:
            raise OSError(ctypes.get_errno(), f"{path}: no driver")


class Cache:
    """Blocks that were written and not flushed."""

    def __init__(self, disk):
        self.disk = os.open(disk, os.O_RDWR)
        self.blocks = {}

    def read(self, at, size):
        data = bytearray(os.pread(self.disk, size, at))
        for offset in range(0, size, BLOCK):
            block = self.blocks.get(at + offset)
            if block is not None:
                data[offset:offset + BLOCK] = block
        return bytes(data)

    def write(self, at, data):
        for offset in range(0, len(data), BLOCK):
            self.blocks[at + offset] = data[offset:offset + BLOCK]

    def flush(self):
        for at, block in self.blocks.items():
            os.pwrite(self.disk, block, at)
        self.blocks.clear()
        os.fsync(self.disk)


def take(sock, size):
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            os._exit(0)
        data += more
    return data


def answer(cache, sock):
    """One request of the kernel's."""
    magic, command, handle, at, size = REQUEST.unpack(
        take(sock, REQUEST.size))
    assert magic == REQUEST_MAGIC
    what, data = command & 0xffff, b""
    if what == READ:
        data = cache.read(at, size)
    elif what == WRITE:
        cache.write(at, take(sock, size))
    elif what == DISCONNECT:
        os._exit(0)
    if what == FLUSH or command & FUA:
        cache.flush()
    sock.sendall(struct.pack(">II8s", REPLY_MAGIC, 0, handle) + data)


def serve(disk, device):
    """DEVICE is DISK behind such a cache, from now on."""
    ours, theirs = socket.socketpair()
    cache = Cache(disk)
    size = os.lseek(cache.disk, 0, os.SEEK_END)
    if os.fork() == 0:
        theirs.close()
        while True:
            answer(cache, ours)
    ours.close()
    fd = os.open(device, os.O_RDWR)
    fcntl.ioctl(fd, SET_BLKSIZE, BLOCK)
    fcntl.ioctl(fd, SET_SIZE_BLOCKS, size // BLOCK)
    fcntl.ioctl(fd, SET_FLAGS, HAS_FLUSH_AND_FUA)
    fcntl.ioctl(fd, SET_SOCK, theirs.fileno())
    if os.fork() == 0:
        fcntl.ioctl(fd, DO_IT)
        os._exit(0)
    os.close(fd)
    theirs.close()
