"""Holds each line of an accounting log against the schema that is installed,
and against what its fields say of each other."""
import json
import os
import pathlib

import fastjsonschema

Invalid = fastjsonschema.JsonSchemaException
NAME = "accounting.schema.json"


def find():
    """The schema as it was built, else as it stands in the source."""
    built = pathlib.Path(os.environ.get("BUILDDIR", ".")) / "conf" / NAME
    source = pathlib.Path(__file__).resolve().parents[3] / "conf" / (NAME + ".in")
    return built if built.is_file() else source


def compile_schema():
    return fastjsonschema.compile(json.loads(find().read_text("utf-8")))


def check_exec(one):
    if one["outcome"] != "refused":
        assert one["billed_ms"] == -(-(one["init_us"] + one["run_us"]) // 1000)
    assert one["mib_ms"] == one["mem_limit_mib"] * one["billed_ms"]
    assert one["sandbox_us"] <= one["init_us"]
    assert one["program_us"] <= one["run_us"] or one["outcome"] == "lost"
    assert (one["start"] is None) == (one["cold"] is None)
    assert (one["mem_start_kib"] == 0) == (one["mem_start_source"] == "none")


def check_instance(one):
    idle_ms = -(-one["idle_us"] // 1000)
    assert one["idle_mib_ms"] == one["mem_limit_mib"] * idle_ms


CHECKS = {"exec": check_exec, "instance": check_instance}


class Schema:
    def __init__(self):
        self.validate = compile_schema()

    def check_line(self, line):
        one = json.loads(line)
        self.validate(one)
        CHECKS.get(one["type"], lambda _: None)(one)

    def check_file(self, path):
        """How many lines.  A torn last one is no line yet, and what a test put
        there that is none of the host's is not looked at."""
        count = 0
        for line in path.read_bytes().splitlines(keepends=True):
            if not line.startswith(b'{"v":') or not line.endswith(b"\n"):
                continue
            try:
                self.check_line(line)
            except (AssertionError, Invalid) as error:
                raise AssertionError(f"{path}: {error!r} in:\n{line.decode()}") from error
            count += 1
        return count
