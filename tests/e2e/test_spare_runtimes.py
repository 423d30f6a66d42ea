"""Spares of each runtime: what no two of them have in common, and the secrets of
the function for which one waits."""
import json
import os
import pathlib
import re
import subprocess
import time

import pytest

from lib import proc

# Each tells what it is made of: numbers, hashes, and the places of its memory.
FUNCTIONS = {
    "wsgi": """
import json, os, random
def handler(request):
    return {"random": random.random(), "bytes": os.urandom(8).hex(),
            "hash": hash("a string"), "set": list({"a%d" % i for i in range(20)}),
            "maps": open("/proc/self/maps").read(), "key": os.environ.get("KEY")}
""",
    "node": """
import crypto from 'node:crypto';
import fs from 'node:fs';
export default { fetch() { return Response.json({
    random: Math.random(), bytes: crypto.randomBytes(8).toString('hex'),
    uuid: crypto.randomUUID(), web: [...globalThis.crypto.getRandomValues(
        new Uint8Array(8))],
    maps: fs.readFileSync('/proc/self/maps', 'utf8'), key: process.env.KEY }); } };
""",
    "php": """<?php
echo json_encode(["random" => mt_rand(), "old" => rand(),
    "lcg" => lcg_value(), "bytes" => bin2hex(random_bytes(8)),
    "shuffled" => str_shuffle("abcdefghijklmnopqrstuvwxyz"),
    "unique" => uniqid("", true),
    "maps" => file_get_contents("/proc/self/maps"), "key" => getenv("KEY")]);
""",
    "psgi": """
use JSON::PP;
sub {
    open(my $file, '<', '/proc/self/maps') or die $!;
    local $/;
    my %set = map { $_ => 1 } 'a' .. 'z';
    [200, ['Content-Type' => 'application/json'], [encode_json({
        random => rand(), set => join('', keys %set),
        maps => scalar <$file>, key => $ENV{KEY} })]];
};
""",
    "rack": """
require 'json'
require 'securerandom'
run ->(env) { [200, { 'content-type' => 'application/json' }, [{
    random: rand, bytes: SecureRandom.hex(8), hash: 'a string'.hash,
    shuffled: [*1..20].shuffle, own: Random.new.rand,
    maps: File.read('/proc/self/maps'), key: ENV['KEY'] }.to_json]] }
""",
}
EXTENSIONS = {"wsgi": "wsgi", "node": "mjs", "php": "php", "psgi": "psgi",
              "rack": "ru"}
PLACES = {place: rf"^[0-9a-f]+-[0-9a-f]+(?= .*\[{place}\])"
          for place in ("heap", "stack", "vdso")}


@pytest.fixture(scope="module")
def host(start, place):
    """idle = 0: what has served is no more, and a spare is booted."""
    return start.host(
        {f"{name}{number}.{EXTENSIONS[name]}": text
         for name, text in FUNCTIONS.items() for number in "12"},
        {"defaults": {"idle": "0", "instances": "1", "memory": "256M"}},
        text="".join(place.section(name, spare=2) for name in FUNCTIONS))


def wait_spare(host, function):
    return host.wait_states(function, ["spare"])[0]


def seen_by_a_spare(host, function):
    wait_spare(host, function)
    answer, record = host.execute(f"/fn/{function}")
    assert (answer.status, record["start"]) == (200, "spare"), \
        (answer, record, host.log()[-2000:])
    seen = json.loads(answer.text)
    maps = seen.pop("maps")
    return {**seen, **{what: re.search(text, maps, re.M)[0]
                       for what, text in PLACES.items()}}


@pytest.mark.parametrize("runtime", FUNCTIONS)
def test_no_spare_has_random_numbers_hashes_or_an_address_of_another(host, runtime):
    functions = [runtime + number for number in "12"]
    for function in functions:
        host.wait_served(f"/fn/{function}")
    # those that wait at a time, and their successors
    for function in functions:
        wait_spare(host, function)
    found = [seen_by_a_spare(host, function) for function in functions * 2]
    for what in set(found[0]) - {"key"}:
        values = [json.dumps(one[what]) for one in found]
        assert len(set(values)) == len(found), (what, values)


@pytest.mark.parametrize("runtime", FUNCTIONS)
def test_a_spare_has_the_secrets_and_a_change_of_them_retires_it(host, runtime):
    function = f"{runtime}1"
    url = f"/fn/{function}"
    first, second = (f"secret-{os.urandom(8).hex()}" for _ in "12")
    host.put(f"{function}.env", f"KEY={first}\n", 0o600)
    host.sidecar(function, env_file=f"{function}.env")
    until = time.monotonic() + 30
    while True:
        answer = host.fetch(url)
        if answer.status == 200 and json.loads(
                answer.text).get("key") == first:
            break
        assert time.monotonic() < until, answer
    old, _, pid = host.wait_booted(function)
    assert f"KEY={first}".encode() in proc.environ(pid).split(b"\0")
    if os.geteuid() == 0:
        other = subprocess.run(
            ["setpriv", "--reuid=65534", "--clear-groups", "cat",
             f"/proc/{pid}/environ", f"/proc/{pid}/cmdline"],
            capture_output=True, check=False)
        assert b"Permission denied" in other.stderr
        assert first.encode() not in other.stdout
    # a byte, as docs/SANDBOX.md has it
    assert re.search(r"^Max core file size +1 +1 ", pathlib.Path(
        f"/proc/{pid}/limits").read_text(), re.M), "it could leave a core"
    host.put(f"{function}.env", f"KEY={second}\n", 0o600)
    host.wait_retired(function, old)
    assert seen_by_a_spare(host, function)["key"] == second
    told = host.log() + host.accounting.read_text() + \
        host.verb("status", "--json").stdout
    assert first not in told and second not in told


def test_a_reload_retires_spares_that_have_an_old_secret_of_the_administrators(
        start_once, place, tmp_path):
    secret = tmp_path / "admin.env"
    host = start_once.host(
        {"f.wsgi": FUNCTIONS["wsgi"], "g.wsgi": FUNCTIONS["wsgi"]},
        {"defaults": {"idle": "0", "instances": "1"},
         "function f": {"env_file": str(secret)}},
        text=place.section("wsgi", spare=2), is_started=False)
    secret.write_text("KEY=one\n")
    secret.chmod(0o600)
    host.start()
    for function in "fg":
        host.wait_served(f"/fn/{function}")
    old, kept = (wait_spare(host, function) for function in "fg")
    secret.write_text("KEY=two\n")
    assert host.verb("reload").returncode == 0
    assert seen_by_a_spare(host, "f")["key"] == "two"
    host.wait_retired("f", old)
    # whom it does not concern goes on waiting
    assert wait_spare(host, "g")["instance"] == kept["instance"]
