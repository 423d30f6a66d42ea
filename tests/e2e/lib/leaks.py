"""What a host holds, to be compared before and after."""
import collections
import os
import time

from lib import proc

HOMES_KEPT = 16 # HOMES_UNUSED_MAX of fcgi-host/home.h


def folders(path):
    try:
        return [one.path for one in os.scandir(path) if one.is_dir()]
    except FileNotFoundError:  # it has just ended
        return []


def snapshot(host):
    """Counts per role of descriptors and mounts; processes, cgroups, files."""
    roles = host.roles()
    facts = {}
    for role, pid in sorted(roles.items()):
        # a test beside that makes an account puts a new file in its place
        held = collections.Counter(
            "/etc/passwd" if name == "/etc/passwd (deleted)" else name
            for name in proc.descriptors(pid))
        # network namespaces are kept for functions without an instance, and what
        # the trees of a function's sandboxes have in common from the second on
        bound = HOMES_KEPT + len(host.instances())
        for kind in ("net", "mnt") if role == "spawner" else ():
            kept = held.pop(kind, 0)
            if kept > bound:
                held[kind] = kept - bound
        facts[f"descriptors of {role}"] = held
        # what others mount on the machine meanwhile comes and goes in its roles
        facts[f"mounts of {role}"] = proc.mounts(pid) - proc.mounts("self")
    facts["processes"] = len(host.instances())
    facts["zombies"] = len([pid for pid in proc.descendants(host.pid)
                            if (proc.stat(pid) or " Z")[1] == "Z"])
    group = host.find_cgroup()
    # of a tenant, of a function below it, and in that the instances'
    tenants, functions, leaves = [], [], []
    if group is not None and group.exists():
        tenants = folders(group)
        functions = [one for tenant in tenants for one in folders(tenant)]
        leaves = [one for function in functions for one in folders(function)]
    facts["cgroups"] = len(leaves)
    # a function's branch is kept like its network namespace, and its tenant's
    # with it
    facts["cgroup branches"] = max(
        0, len(functions) - HOMES_KEPT - len(host.instances()))
    facts["tenants' branches without a function's"] = len(
        [one for one in tenants if not folders(one)])
    files = collections.Counter()
    for base in (host.run_dir, host.state):
        for directory, _, names in os.walk(base):
            files[os.path.relpath(directory, host.dir)] += len(names)
    facts["files"] = files
    return facts


def differences(before, after):
    out = []
    for key in sorted(set(before) | set(after)):
        one, two = before.get(key), after.get(key)
        if isinstance(one, collections.Counter):
            more, fewer = two - one, one - two
            # to each FastCGI program one connection may be kept, or not
            for change in (more, fewer):
                if key == "descriptors of gateway" and \
                        change["socket"] <= after["processes"]:
                    del change["socket"]
            if more or fewer:
                out.append(f"{key}: more {dict(more)}, fewer {dict(fewer)}")
        elif one != two:
            out.append(f"{key}: {one} before, {two} after")
    return out


def at_rest(host, timeout=30):
    """A snapshot that did not change for a while: a connection that a test has
    just closed is still open on the host's side for a moment, which is longer
    where others compute, too."""
    until = time.monotonic() + timeout
    last, same = snapshot(host), 0
    while same < 3 and time.monotonic() < until:
        time.sleep(0.2)
        now = snapshot(host)
        same = 0 if differences(last, now) else same + 1
        last = now
    return last


def settle(host, before, timeout=30):
    """Waits until the host holds what it held before, else fails and says
    what is left."""
    until = time.monotonic() + timeout
    while True:
        left = differences(before, snapshot(host))
        if not left:
            return
        if time.monotonic() > until:
            raise AssertionError("left behind:\n" + "\n".join(left))
        time.sleep(0.1)
