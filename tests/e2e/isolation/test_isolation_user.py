#!/usr/bin/env python3
"""test_isolation.py once more, as root of a user namespace of an ordinary user: the same walls have to stand."""
import os
import pathlib
import shutil
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "lib"))
from harness import USER, Private, Skip, run, user_prefix  # noqa: E402


def command(private):
    if os.geteuid() != 0:
        raise Skip("needs root to become somebody else")
    if "--map-auto" not in run("unshare", "--help").out:
        raise Skip("this unshare does not map subordinate ids")
    prefix = user_prefix(private, USER)
    return [*prefix, "unshare", "--map-root-user", "--map-auto", "--setuid", "0", "--setgid", "0", "--mount", "--pid",
            "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc", sys.executable,
            str(pathlib.Path(__file__).with_name("test_isolation.py")), *sys.argv[1:]]


def main():
    private = Private("isolation-user")
    try:
        argv = command(private)
    except Skip as why:
        print(f"skip all: {why}")
        print("# 0 passed, 0 failed, 1 skipped")
        return 0
    env = dict(os.environ, TMPDIR=str(private.dir))
    p = private.spawn(*argv, env=env)
    code = p.wait()
    shutil.rmtree(private.dir, ignore_errors=True)
    return code


sys.exit(main())
