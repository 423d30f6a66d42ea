"""What is said of a layer that this machine has not, and of what stands in."""
import json

SAY = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nsaid\\n'\n"


def check(host):
    done = host.verb("check", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_missing_controller_is_said_with_what_bounds_in_its_place(
        start_once):
    host = start_once.host({"say.cgi": SAY},
                           {"tenant default": {"cpu": "0.5"}})
    layers = {one["layer"]: one for one in check(host)["layers"]}
    fact = layers["cgroup"]["fact"]
    missing = [name for name in ("memory", "pids", "cpu")
               if f"{name} on" not in fact]
    words = {"memory": "memory by RLIMIT_DATA of each process, which is "
                       "neither their sum nor shared memory",
             "pids": "processes by RLIMIT_NPROC of a tenant's instances "
                     "together", "cpu": "cpu by nothing"}
    for name, text in words.items():
        assert (text in fact) is (name in missing), fact
    assert ("bounded instead: " in fact) is bool(missing)
    said = [line for line in host.log().splitlines()
            if "layer_off layer=cgroup" in line]
    # what the host itself has got may be less than what the machine has
    assert said or not {"memory", "pids"} & set(missing)
    for line in said:
        assert "bounded instead: " in line and "RLIMIT_" in line
    if "cpu" in missing:
        assert 'no_effect key=cpu section="tenant default"' in host.log()
        assert "[tenant default] cpu has no effect" in \
            "\n".join(check(host)["warnings"])
