"""PSGI and Rack: cold, against a bare script that has loaded Plack or Rack."""
import statistics

import rows as rows_room
import tiers
from rig import HELLO, need

# between two cold starts: a spare that boots is ready by then
PAUSE_MS = 400
BARS = {"spare": 1 / 5, "prepared": 1.3}
# runtime: what a bare script loads, and what it is run by
SCRIPTS = {
    "psgi": ("#!/usr/bin/perl\nuse Plack::Handler::FCGI;\n"
             "$| = 1;\nprint \"%s\\n\";\n", "perl", "libplack-perl",
             "a bare perl script with Plack"),
    "rack": ("#!/usr/bin/ruby\nrequire 'rack'\nrequire 'rack/builder'\n"
             "$stdout.sync = true\nputs '%s'\n", "ruby", "ruby-rack",
             "a bare ruby script with Rack")}


def hosts(rig, runtime):
    """A function that finds a spare, and one that finds a prepared sandbox."""
    source = {f"cold.{tiers.extension(runtime)}": tiers.FUNCTIONS[runtime][1]}
    return [rig.host(source, rows_room.function("cold", idle=0),
                     installed=rig.installed_with(**{runtime: keys}))
            for keys in (tiers.suggested(runtime), {})]


def measure(rig, times, runtime):
    text, program, package, peer = SCRIPTS[runtime]
    need(program, package)
    script = rig.dir / "script"
    script.write_text(text % HELLO.strip())
    script.chmod(0o755)
    count, rows = max(5, round(times.seconds * 5)), {}
    both = hosts(rig, runtime)
    for number in range(times.rounds):
        rows_room.say(f"  round {number + 1} of {times.rounds}")
        theirs = rig.exec_load("-n", count, "-w", 50,
                               script)["first_byte_us"]["p50"]
        for host in both:
            found = {}
            for start, us in rows_room.cold_run(rig, host, count, PAUSE_MS):
                found.setdefault(start, []).append(us)
            for start, samples in sorted(found.items()):
                row = rows.setdefault(start, rows_room.Row(
                    f"first byte, {tiers.FUNCTIONS[runtime][0]}, {start}",
                    peer, BARS.get(start), " µs", True))
                row.add(statistics.median(samples), theirs)
    for host in both:
        host.stop()
    return list(rows.values())


def loaded(rig, times):
    """(o) functions in Perl and Ruby, cold."""
    return [row for runtime in SCRIPTS for row in measure(rig, times, runtime)]
