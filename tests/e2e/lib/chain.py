"""The chain over the accounting log's lines, followed by another implementation
than the host's: hashlib's BLAKE2b, and the words of fcgi-host-accounting(5)."""
import hashlib
import re
import secrets

FIELD = re.compile(rb'^(\{.*),"mac":"([0-9a-f]{64})"\}\n$')
NAMED = re.compile(rb',"chain":"([0-9a-f]{32})","prev":"([0-9a-f]{64})"$')


def new_key(path):
    """A key file; its text."""
    text = secrets.token_hex(32)
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_text(text + "\n")
    return text


def begin(host):
    """A new key, and a new log that is chained from its first line on; the key's
    text."""
    host.stop()
    host.key_path = host.state / "chain.key"
    key = new_key(host.key_path)
    host.own(host.key_path)
    host.accounting.unlink()
    host.configure({"host": {"chain_key": host.key_path}})
    host.start()
    return key


def blake2b(key, data, size=32):
    return hashlib.blake2b(data, key=key, digest_size=size).digest()


def next_key(key):
    return blake2b(key, b"fcgi-host chain: next key")


def name_of(key):
    return blake2b(key, b"fcgi-host chain: name of key", 16).hex().encode()


def find_key(first, name):
    """The key of that name: the first, or one that it leads to."""
    for key in map(bytes.fromhex, first):
        for _ in range(100):
            if name_of(key) == name:
                return key
            key = next_key(key)
    raise AssertionError(f"no key has the name {name}")


def follow(paths, *first):
    """Every line of these files, oldest first, is chained to the one before it,
    by one of the keys given or by what they lead to; the mac of the last, and
    how many keys there were."""
    mac, key, names = bytes(32), None, []
    for path in paths:
        for number, line in enumerate(path.read_bytes().splitlines(True), 1):
            found = FIELD.match(line)
            assert found, f"{path}:{number}: no mac: {line}"
            named = NAMED.search(found[1])
            if named:
                assert named[2] == mac.hex().encode(), f"{path}:{number}: prev"
                key = find_key(first, named[1])
                if not names or names[-1] != named[1]:
                    names.append(named[1])
            mac = blake2b(key, mac + found[1])
            assert found[2] == mac.hex().encode(), f"{path}:{number}: the mac"
    return mac.hex(), len(names)
