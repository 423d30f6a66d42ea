"""The soak: mixed load from a seed, while every part of the host is killed.

    cd tests/e2e && BUILDDIR=… SOAK_SECONDS=600 /usr/bin/python3 -m soak

sheet: what each client was told; traffic: the clients; storm: the killing;
ledger: the records, read as they come; run: all of it, and the judgement.
"""
