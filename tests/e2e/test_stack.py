#!/usr/bin/env python3
"""The whole path through the built programs: CLI, gateway, local driver, supervisor, agent. Isolation and egress as an
agent in a sandbox meets them."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import (BIN, USER, Authority, Gateway, Origin, Private, Suite, check, contains, equal, lo_address, on_terminal,
                     run, wait_for)

suite = Suite()
case = suite.case
private = Private("stack")
# One address per test process, so that two runs do not meet.
ADDRESS = f"10.99.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250 + 1}"
OTHER = f"10.97.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250 + 1}"

POLICY = f"""version: 1
filesystem_policy:
  include_workdir: true
  read_only: [/usr, /lib, /proc, /dev/urandom, /app, /etc, /var/log]
  read_write: [/tmp, /dev/null]
landlock:
  compatibility: best_effort
network_policies:
  api:
    name: api
    endpoints:
      - host: api.test
        port: 443
        protocol: rest
        enforcement: enforce
        access: read-only
    binaries:
      - path: /usr/bin/curl
"""


def sandbox(gateway, name, *command, **kw):
    return gateway.must("sandbox", "create", "--name", name, "--detach", "--", *(command or ("sleep", "infinity")), **kw)


def sh(gateway, script, **kw):
    return gateway.exec("box", "sh", "-c", script, **kw)


# --- life cycle and CLI ---

@case
def create_reaches_ready(g):
    sandbox(g, "box")
    contains(g.must("sandbox", "get", "box").text, "Ready")


@case
def list_names_and_json(g):
    contains(g.must("sandbox", "list", "--names").out, "box")
    rows = json.loads(g.must("sandbox", "list", "-o", "json").out)
    check(any("box" in json.dumps(r) for r in rows), rows)


@case
def a_second_box_of_that_name_is_refused(g):
    r = g.cli("sandbox", "create", "--name", "box", "--detach", "--", "true")
    check(r.code != 0, r)
    contains(r.err, "already exists")


@case
def bad_names_are_refused(g):
    for name in ("Box", "../x", "a--b", "x" * 20, "-a"):
        r = g.cli("sandbox", "create", f"--name={name}", "--detach", "--", "true")
        check(r.code != 0, r)
        contains(r.err, "name")


@case
def unknown_sandbox_is_an_error_everywhere(g):
    for argv in (("sandbox", "get", "nope"), ("sandbox", "exec", "-n", "nope", "--", "true"), ("logs", "nope"),
                 ("policy", "get", "nope")):
        r = g.cli(*argv)
        check(r.code == 1, r)
        contains(r.err.lower(), "not found")


@case
def exec_separates_streams_and_passes_the_exit_code(g):
    r = sh(g, "echo out; echo err >&2; exit 37")
    equal((r.code, r.out, r.err), (37, "out\n", "err\n"))


@case
def exec_passes_stdin_and_large_output(g):
    data = os.urandom(3 << 20)
    p = subprocess.run([BIN / "openshell", "sandbox", "exec", "-n", "box", "--", "cat"], input=data,
                       capture_output=True, env=g.env, timeout=60, check=False)
    equal(p.returncode, 0, p.stderr)
    check(p.stdout == data, f"got {len(p.stdout)} of {len(data)} bytes back")


@case
def exec_of_a_missing_program_says_so(g):
    r = g.exec("box", "/no/such/program")
    check(r.code != 0, r)
    contains(r.text, "/no/such/program")


@case
def exec_workdir_and_environment(g):
    r = g.cli("sandbox", "exec", "-n", "box", "--workdir", "/tmp", "--env", "WORD=two words", "--", "sh", "-c",
              'pwd; echo "$WORD"')
    equal(r.out, "/tmp\ntwo words\n", r)


@case
def exec_timeout_ends_with_124(g):
    r = g.cli("sandbox", "exec", "-n", "box", "--timeout", "1", "--", "sleep", "30")
    equal(r.code, 124, r)
    wait_for("the command to be gone", lambda: "sleep 30" not in sh(g, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").out)


@case
def what_a_timed_out_exec_left_behind_goes_with_it(g):
    r = g.cli("sandbox", "exec", "-n", "box", "--timeout", "1", "--", "sh", "-c",
              "(trap '' TERM HUP; sleep 301) & (trap '' TERM HUP; sleep 302)")
    equal(r.code, 124, r)
    wait_for("its processes to be gone", lambda: "sleep 30" not in sh(g, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").out)


@case
def a_signal_death_is_128_plus_the_signal(g):
    equal(sh(g, "kill -9 $$").code, 137)


@case
def exec_with_a_terminal(g):
    r = g.cli("sandbox", "exec", "-n", "box", "--tty", "--", "sh", "-c", "test -t 0 && test -t 1 && stty size")
    equal(r.code, 0, r)
    check(re.search(r"\d+ \d+", r.out), r)


# --- isolation ---

@case
def runs_as_the_agent_user(g):
    r = sh(g, "id -u; id -un; id -G")
    lines = r.out.split()
    check(lines[0] != "0" and lines[1] == "sandbox" and "0" not in lines[2:], r)


@case
def its_environment_names_it_like_its_account(g):
    """For programs that ask the environment (Python's getpass) and those that ask passwd (id) alike."""
    r = sh(g, 'echo "$(id -un) $USER $LOGNAME $LANG"; touch /tmp/sp\u00fc; ls /tmp/sp*; rm /tmp/sp*')
    equal(r.out, "sandbox sandbox sandbox C.UTF-8\n/tmp/sp\u00fc\n", r)
    r = g.must("sandbox", "create", "--name", "env", "--no-keep", "--", "sh", "-c", 'echo "main $USER $LOGNAME $LANG"')
    contains(r.out, "main sandbox sandbox C.UTF-8")


@case
def no_capabilities_no_new_privileges_and_a_filter(g):
    text = sh(g, "cat /proc/self/status").out
    fields = dict(re.findall(r"^(\w+):\s+(\S+)", text, re.M))
    for cap in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        equal(int(fields[cap], 16), 0, cap)
    equal(fields["NoNewPrivs"], "1")
    equal(fields["Seccomp"], "2")


@case
def setuid_programs_gain_nothing(g):
    check(sh(g, "test -u /usr/bin/su || test -u /bin/mount || exit 0; su -c id root </dev/null").code in (0, 1, 126, 127))
    check("uid=0" not in sh(g, "su -c id root </dev/null; mount --version >/dev/null; id").out)


@case
def sees_only_its_own_processes(g):
    names = sh(g, "cat /proc/[0-9]*/comm").out.split()
    check("systemd" not in names and "openshell-gatew" not in names and len(names) < 12, names)


@case
def has_its_own_hostname(g):
    equal(sh(g, "hostname 2>/dev/null || cat /proc/sys/kernel/hostname").out.strip(), "box")


@case
def reading_outside_the_policy_is_denied(g):
    r = sh(g, "ls /srv")
    check(r.code != 0, r)
    contains(r.err, "Permission denied")


@case
def secrets_of_the_host_are_not_there(g):
    for path in ("/etc/shadow", "/root/.ssh", "/root/.bashrc", str(g.state), str(g.mtls / "tls.key")):
        r = sh(g, f"cat {path} || ls {path}")
        check(r.code != 0, r)


@case
def the_host_root_cannot_be_written(g):
    for path in ("/etc/x", "/usr/bin/x", "/bin/x", "/x", "/opt/x"):
        r = sh(g, f"echo x > {path}")
        check(r.code != 0, r)
        check(not pathlib.Path(path).exists())


@case
def the_workspace_and_tmp_can(g):
    r = sh(g, "echo one > /sandbox/f && echo two > /tmp/f && cat /sandbox/f /tmp/f && pwd && echo $HOME")
    equal(r.out.split(), ["one", "two", "/sandbox", "/sandbox"], r)
    check(not pathlib.Path("/sandbox/f").exists(), "the workspace is the host's")


@case
def no_way_to_mount(g):
    check(sh(g, "mount -t tmpfs none /tmp").code != 0)


@case
def no_user_namespaces(g):
    check(sh(g, "unshare -Ur true").code != 0)


@case
def no_ptrace(g):
    r = sh(g, "python3 -c 'import ctypes; l=ctypes.CDLL(None,use_errno=True); print(l.ptrace(0,0,0,0), ctypes.get_errno())'")
    equal(r.out.strip(), "-1 1", r)


@case
def forbidden_system_calls(g):
    # mount_setattr, open_tree, bpf, perf_event_open, keyctl, io_uring_setup, userfaultfd, process_vm_readv, kexec_load
    script = ("import ctypes; l=ctypes.CDLL(None,use_errno=True)\n"
              "for n in (442,428,321,298,250,425,323,310,246):\n"
              "  ctypes.set_errno(0); r=l.syscall(n,0,0,0,0,0,0); print(n, r, ctypes.get_errno())\n")
    r = g.exec("box", "python3", "-c", script)
    for line in r.out.splitlines():
        number, value, errno = line.split()
        check(value == "-1" and errno in ("1", "38"), f"system call {number}: {value} errno {errno}")
    equal(len(r.out.splitlines()), 9, r)


@case
def no_raw_or_netlink_sockets(g):
    script = ("import socket\n"
              "for f,t,p in ((17,3,0),(16,3,9),(16,3,12),(2,3,1),(40,1,0)):\n"
              "  try: socket.socket(f,t,p); print('made',f,p)\n"
              "  except OSError as e: print('refused', f)\n")
    r = g.exec("box", "python3", "-c", script)
    check("made" not in r.out and r.out.count("refused") == 5, r)


@case
def only_loopback_interfaces(g):
    equal(sh(g, "ls /proc/self/net >/dev/null; tail -n +3 /proc/net/dev | cut -d: -f1").out.split(), ["lo"])


@case
def the_supervisor_is_out_of_reach(g):
    r = sh(g, "for p in 1 2 3; do cat /proc/$p/environ 2>/dev/null; cat /proc/$p/maps 2>/dev/null; kill -9 $p 2>/dev/null && echo killed; done; true")
    check("killed" not in r.out and "OPENSHELL_SANDBOX_TOKEN" not in r.out, r)
    equal(sh(g, "echo alive").out, "alive\n")


@case
def no_secret_in_the_environment(g):
    text = sh(g, "env").out
    for word in ("TOKEN", "tls.key", "BEGIN ", "eyJ"):
        check(word not in text, text)
    contains(text, "HTTPS_PROXY=")


@case
def worker_is_unprivileged(g):
    found = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            exe = os.readlink(f"/proc/{pid}/exe")
            state = pathlib.Path(f"/proc/{pid}/environ").read_bytes() + pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        fields = dict(re.findall(r"^(\w+):\s+(\S+)", status, re.M))
        if "openshell-sandbox" not in exe or fields["Uid"] == (str(USER) if g.prefix else "0") or str(g.port).encode() not in state:
            continue
        found += 1
        equal(int(fields["CapEff"], 16), 0, "CapEff")
        equal(fields["Seccomp"], "2")
        equal(fields["NoNewPrivs"], "1")
    check(found >= 1, "no unprivileged worker was found")


@case
def the_supervisor_is_static(g):
    text = run("readelf", "-ld", BIN / "openshell-sandbox").out
    check("INTERP" not in text and "NEEDED" not in text, text)


# --- egress from inside ---

@case
def https_is_refused_without_a_policy(g):
    r = g.exec("box", "curl", "-sS", "--max-time", "10", "https://api.test/x")
    check(r.code != 0, r)
    contains(r.text, "403")
    wait_for("the event", lambda: re.search(r"NET:OPEN.*DENIED.*api\.test", g.must("logs", "box", "-n", "300").out))


@case
def a_policy_opens_exactly_what_it_says(g):
    path = private.dir / "policy.yaml"
    path.write_text(POLICY)
    g.must("policy", "set", "box", "--policy", path, "--wait")
    r = g.exec("box", "curl", "-sS", "--max-time", "10", "https://api.test/x")
    equal(r.code, 0, r)
    equal(json.loads(r.out)["path"], "/x")
    r = g.exec("box", "curl", "-sS", "--max-time", "10", "-X", "POST", "-d", "a=b", "-w", " %{http_code}",
               "https://api.test/x")
    contains(r.out, " 403")
    contains(r.out, "policy_denied")
    check(not any(q["method"] == "POST" for q in suite.origin.requests), "the POST reached the origin")


@case
def another_program_is_refused(g):
    r = g.exec("box", "python3", "-c", "import urllib.request as u; u.urlopen('https://api.test/x', timeout=10)")
    check(r.code != 0, r)
    contains(r.err, "403")


@case
def another_host_is_refused(g):
    r = g.exec("box", "curl", "-sS", "--max-time", "10", "https://other.test/")
    check(r.code != 0, r)
    contains(r.text, "403")


@case
def addresses_and_metadata_are_refused(g):
    for target in ("https://127.0.0.1/", "https://169.254.169.254/", f"https://{ADDRESS}/", "https://[::1]/",
                   "https://localhost/"):
        r = g.exec("box", "curl", "-sS", "--noproxy", "", "--max-time", "10", target)
        check(r.code != 0, r)


NO_PROXY_VARIABLES = ("env", "-u", "HTTPS_PROXY", "-u", "https_proxy", "-u", "HTTP_PROXY", "-u", "http_proxy", "-u", "ALL_PROXY",
                      "-u", "all_proxy")


@case
def programs_without_proxy_support_are_judged_alike(g):
    """The name resolves, the connection is captured, the rules hold; another program and another name are refused."""
    curl = (*NO_PROXY_VARIABLES, "curl", "-sS", "--max-time", "10")
    r = g.exec("box", *curl, "https://api.test/direct")
    equal(r.code, 0, r)
    equal(json.loads(r.out)["path"], "/direct")
    r = g.exec("box", *curl, "-X", "POST", "-d", "a=b", "-w", " %{http_code}", "https://api.test/direct")
    contains(r.out, " 403")
    contains(r.out, "policy_denied")
    r = g.exec("box", *curl, "https://other.test/")
    equal(r.code, 6, r)  # does not resolve
    r = g.exec("box", "python3", "-c", "import socket; s = socket.create_connection(('api.test', 443), 10); print(s.recv(1))")
    check(r.code != 0, r)
    contains(r.err, "ConnectionResetError")
    for event in (r"NET:OPEN \[INFO\] ALLOWED \S*curl\(\d+\) -> api\.test:443 \[policy:api engine:opa\] \[msg:TRANSPARENT",
                  r"NET:OPEN \[MED\] DENIED \S*python3\S* -> api\.test:443 \[policy:- engine:opa\] \[reason:binary '",
                  r"other\.test:53 \[policy:- engine:policy-dns\] \[reason:policy_dns_ineligible\]"):
        wait_for(event, lambda: re.search(event, g.must("logs", "box", "-n", "300").out))


@case
def names_are_answered_at_once_wherever_they_are_asked(g):
    """getaddrinfo for an allowed and a denied name; the resolver file names the sandbox's own server."""
    equal(sh(g, "cat /etc/resolv.conf").out, "nameserver 10.200.0.1\n")
    r = g.exec("box", "python3", "-c", "import socket, time; print(socket.gethostbyname('api.test'))\nt = time.time()\n"
               "try: socket.gethostbyname('denied.test')\nexcept socket.gaierror as e: print(e.errno == socket.EAI_NONAME)\n"
               "print(time.time() - t < 1)")
    check(re.fullmatch(r"198\.18\.\d+\.\d+\nTrue\nTrue\n", r.out), r)


@case
def direct_tcp_is_captured_and_logged(g):
    r = g.exec("box", "curl", "-sS", "--noproxy", "*", "--max-time", "5", f"https://{ADDRESS}/")
    check(r.code != 0, r)
    wait_for("the event", lambda: re.search(rf"DENIED.*{re.escape(ADDRESS)}", g.must("logs", "box", "-n", "300").out))


@case
def sandboxes_do_not_reach_each_other(g):
    """Abstract UNIX sockets, loopback and the proxy's address are each sandbox's own; so are made-up addresses."""
    listen = ("import socket, time\n"
              "u = socket.socket(socket.AF_UNIX); u.bind('\\0openshell-meeting'); u.listen()\n"
              "t = socket.create_server(('', 47111))\n"
              "print('up', flush=True); time.sleep(600)\n")
    sandbox(g, "peer", "python3", "-c", listen)
    wait_for("the listener", lambda: "@openshell-meeting" in g.exec("peer", "cat", "/proc/net/unix").out)
    code = ("import socket\n"
            "for f, a in ((socket.AF_UNIX, '\\0openshell-meeting'), (socket.AF_INET, ('127.0.0.1', 47111)),\n"
            "             (socket.AF_INET, ('10.200.0.1', 47111))):\n"
            "  s = socket.socket(f); s.settimeout(5)\n"
            "  try: s.connect(a); s.sendall(b'x'); print('met' if s.recv(1) else 'closed')\n"
            "  except OSError as e: print(type(e).__name__)\n")
    r = g.exec("box", "python3", "-c", code)
    equal(r.out.split(), ["ConnectionRefusedError", "ConnectionRefusedError", "ConnectionResetError"], r)
    check("openshell-meeting" not in g.exec("box", "cat", "/proc/net/unix").out, "its name is seen")
    g.must("sandbox", "delete", "peer")


@case
def raw_sockets_are_refused(g):
    code = ("import socket\n"
            "for f, t, p in ((2, 3, 1), (2, 3, 255), (10, 3, 58), (17, 3, 768), (17, 2, 768)):\n"
            "  try: socket.socket(f, t, p); print('made')\n"
            "  except OSError: print('refused')\n")
    r = g.exec("box", "python3", "-c", code)
    equal(r.out.split(), ["refused"] * 5, r)


@case
def direct_ipv6_and_udp_lead_nowhere(g):
    script = ("import socket\n"
              "for f,a in ((socket.AF_INET6,('2001:db8::1',443)),(socket.AF_INET,('192.0.2.1',443))):\n"
              "  s=socket.socket(f); s.settimeout(3)\n"
              "  try:\n"
              "    s.connect(a); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); print('got', len(s.recv(100)))\n"
              "  except OSError as e: print('refused')\n"
              "u=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(1)\n"
              "try:\n"
              "  u.sendto(b'x',('192.0.2.1',53)); print('answer', u.recv(10))\n"
              "except OSError: print('refused')\n")
    r = g.exec("box", "python3", "-c", script)
    check("answer" not in r.out, r)
    for line in r.out.splitlines():
        check(line in ("refused", "got 0"), r)
    equal(len(r.out.splitlines()), 3, r)


def workers(g):
    """Workers of this gateway's sandboxes: the supervisors that are not root."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            exe = os.readlink(f"/proc/{pid}/exe")
            environ = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            if "openshell-sandbox" in exe and str(g.port).encode() in environ and "\nUid:\t0\t" not in status:
                yield int(pid)
        except OSError:
            continue


@case
def a_reset_connection_does_not_take_the_owner_of_the_next(g):
    """While the worker is held up, python sends a request, resets the connection and curl takes over its port."""
    script = ("import pathlib, re, socket, struct, subprocess, time\n"
              "def until(what):\n"
              "  end = time.monotonic() + 20\n"
              "  while not what() and time.monotonic() < end: time.sleep(0.01)\n"
              "stat = pathlib.Path('/proc/2/stat')\n"
              "until(lambda: stat.read_text().split(') ')[1][0] == 'T')\n"
              "s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
              "s.bind(('10.200.0.1', 45678)); s.connect(('10.200.0.1', 3128))\n"
              "s.sendall(b'CONNECT api.test:443 HTTP/1.1\\r\\n\\r\\n')\n"
              "s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); s.close()\n"
              "c = subprocess.Popen(['curl', '-sS', '--max-time', '20', '--interface', '10.200.0.1', '--local-port',\n"
              "                      '45678', 'https://api.test/second'])\n"
              "taken = re.compile('0100C80A:B26E 0100C80A:0C38 01 ')\n"
              "until(lambda: taken.search(pathlib.Path('/proc/net/tcp').read_text()))\n"
              "pathlib.Path('/sandbox/taken').touch()\n"
              "raise SystemExit(c.wait())\n")
    held = list(workers(g))
    check(held, "no worker was found")
    with subprocess.Popen([BIN / "openshell", "sandbox", "exec", "-n", "box", "--", "python3", "-c", script], env=g.env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
        try:
            wait_for("the script", lambda: any("45678" in pathlib.Path(f"/proc/{pid}/cmdline").read_text()
                                               for pid in run("pgrep", "-x", "python3").out.split()
                                               if os.path.exists(f"/proc/{pid}/root/sandbox")))
            for pid in held:
                os.kill(pid, signal.SIGSTOP)
            wait_for("curl on the same port", lambda: list((g.state / "local").glob("*/workspace/taken")))
        finally:
            for pid in held:
                os.kill(pid, signal.SIGCONT)
        equal(p.wait(30), 0, "curl's exit")
    wait_for("the event", lambda: "reset before its owner was known" in g.must("logs", "box", "-n", "300").out)
    g.exec("box", "rm", "/sandbox/taken")


@case
def a_flood_of_descriptors_hides_no_owner_and_holds_nobody_up(g):
    """More open files than the monitor looks through: the connection is refused, and exec is still served."""
    script = ("import os, resource, socket, sys\n"
              "r, w = os.pipe()\n"
              "for i in range(131072 // resource.getrlimit(resource.RLIMIT_NOFILE)[0] + 2):\n"
              "  done, told = os.pipe()\n"
              "  if os.fork() == 0:\n"
              "    try:\n"
              "      while True: os.dup(r)\n"
              "    except OSError: pass\n"
              "    os.close(told); os.close(w); os.read(r, 1); os._exit(0)\n"
              "  os.close(told); os.read(done, 1); os.close(done)\n"
              "s = socket.create_connection(('10.200.0.1', 3128)); s.settimeout(30)\n"
              "s.sendall(b'CONNECT flood.test:443 HTTP/1.1\\r\\n\\r\\n')\n"
              "print(s.recv(1000), flush=True)\n"
              "sys.stdin.read()\n")
    with subprocess.Popen([BIN / "openshell", "sandbox", "exec", "-n", "box", "--", "python3", "-c", script], env=g.env,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        answer = p.stdout.readline().decode()
        during = g.exec("box", "echo", "served")
        p.stdin.close()
    contains(answer, "more than 131072 descriptors")
    equal(during.out, "served\n", during)


@case
def the_denial_is_in_the_log_and_the_allow(g):
    text = g.must("logs", "box", "-n", "500").out
    check(re.search(r"HTTP:GET.*ALLOWED.*api\.test", text), text[-2000:])
    check(re.search(r"HTTP:POST.*DENIED.*api\.test", text), text[-2000:])
    check("a=b" not in text, "a request body is in the log")


@case
def policy_revisions_are_listed(g):
    contains(g.must("policy", "get", "box", "--full").out, "api.test")
    text = g.must("policy", "list", "box").out
    check(len([l for l in text.splitlines() if re.match(r"\s*\d", l)]) >= 2, text)


@case
def a_bad_policy_changes_nothing(g):
    path = private.dir / "bad.yaml"
    path.write_text(POLICY.replace("read-only\n", "read-only\n        surprise: 1\n"))
    r = g.cli("policy", "set", "box", "--policy", path, "--wait")
    check(r.code != 0, r)
    contains(r.err, "surprise")
    equal(g.exec("box", "curl", "-sS", "--max-time", "10", "https://api.test/y").code, 0)


@case
def what_is_not_built_is_refused_not_dropped(g):
    path = private.dir / "unbuilt.yaml"
    for more, text in (("network_middlewares: {a: {middleware: x, endpoints: {include: ['**']}}}\n", "not registered with this gateway"),
                       ("process: {run_as_user: '1000'}\n", "run as sandbox:sandbox")):
        path.write_text(POLICY + more)
        r = g.cli("sandbox", "create", "--name", "odd", "--policy", path, "--detach", "--", "true")
        check(r.code != 0, r)
        contains(r.err.replace("\n  │ ", " "), text)


@case
def taking_the_rule_away_closes_it_again(g):
    path = private.dir / "closed.yaml"
    path.write_text(POLICY[:POLICY.index("network_policies:")])
    g.must("policy", "set", "box", "--policy", path, "--wait")
    r = g.exec("box", "curl", "-sS", "--max-time", "10", "https://api.test/x")
    check(r.code != 0, r)
    contains(r.text, "403")


@case
def static_sections_cannot_change(g):
    path = private.dir / "static.yaml"
    path.write_text(POLICY.replace("/var/log]", "/var/log, /srv]"))
    g.must("policy", "set", "box", "--policy", path, "--wait")
    contains(sh(g, "ls /srv").err, "Permission denied")
    path.write_text(POLICY.replace(", /var/log]", "]"))
    r = g.cli("policy", "set", "box", "--policy", path)
    check(r.code != 0, r)
    contains(r.err, "read_only path '/var/log' cannot be removed on a live sandbox")


@case
def what_is_enforced_is_in_the_status(g):
    """Complete under a usual policy; partial when no path of a best-effort policy is there; refused when it is required."""
    def enforced(name):
        conditions = json.loads(g.must("sandbox", "get", name, "-o", "json").out)["conditions"]
        return next((c["status"], c["reason"], c["message"]) for c in conditions if c["type"] == "Enforced")
    status, reason, message = enforced("box")
    equal((status, reason), ("True", "SelfTestPassed"))
    for part in ("writing outside the policy", "reading outside the policy", "leaving the sandbox's network", "raw and netlink sockets",
                 "forbidden system calls", "becoming root"):
        contains(message, part)
    contains(g.must("sandbox", "get", "box").out, "Enforcement: complete; refused in a self-test: ")
    g.kill()
    g.start()
    wait_for("the session", lambda: sh(g, "true").code == 0, 20)
    equal(enforced("box")[0], "True", "after a restart of the gateway")
    path = private.dir / "nowhere.yaml"
    text = "version: 1\nfilesystem_policy: {include_workdir: false, read_only: [/does/not/exist]}\nlandlock: {compatibility: %s}\n"
    path.write_text(text % "best_effort")
    g.must("sandbox", "create", "--name", "partial", "--policy", path, "--detach", "--", "sleep", "infinity")
    status, reason, message = enforced("partial")
    equal((status, reason), ("False", "PartiallyEnforced"))
    contains(message, "files are not restricted: none of the listed paths can be opened")
    contains(g.must("sandbox", "get", "partial").out, "Enforcement: partial; ")
    wait_for("the events", lambda: re.search(r"FINDING.*\[HIGH\].*Landlock", g.must("logs", "partial").out) and
             "CONFIG:VERIFIED [MED]" in g.must("logs", "partial").out)
    g.must("sandbox", "delete", "partial")
    path.write_text(text % "hard_requirement")
    r = g.cli("sandbox", "create", "--name", "partial", "--policy", path, "--detach", "--", "sleep", "infinity")
    equal(r.code, 1, r)
    contains(" ".join(r.err.replace("│", " ").split()), "Landlock path unavailable in hard_requirement mode: /does/not/exist")
    g.cli("sandbox", "delete", "partial")


# --- main process ---

@case
def the_main_process_ends_the_sandbox(g):
    r = g.cli("sandbox", "create", "--name", "short", "--", "sh", "-c", "echo from main; sleep 0.2; exit 5")
    row = wait_for("the exit to be known", lambda: (lambda t: t if '"Error"' in t else None)(
        g.must("sandbox", "get", "short", "-o", "json").out))
    check(json.loads(row)["phase"] == "Error", row)
    check(g.exec("short", "true").code != 0, "exec in an ended sandbox")


@case
def create_attaches_a_terminal_to_the_main_process(g):
    text, code = on_terminal(BIN / "openshell", "sandbox", "create", "--name", "term", "--", "sh", "-c",
                             "stty -echo; printf 'say: '; read x; echo \"heard $x\"; test -t 0 && exit 5", env=g.env,
                             answers=[(b"say: ", b"it\n")])
    contains(text, "heard it")
    equal(code, 5, text)


@case
def exec_on_a_terminal_is_interactive(g):
    text, code = on_terminal(BIN / "openshell", "sandbox", "exec", "-n", "box", "--", "sh", env=g.env, answers=[(b"$ ", b"tty; exit 9\n")])
    contains(text, "/dev/pts/")
    equal(code, 9, text)


@case
def nothing_is_left_after_delete(g):
    for name in g.must("sandbox", "list", "--names").out.split():
        g.must("sandbox", "delete", name)
    equal(g.must("sandbox", "list", "--names").out.split(), [])
    left = g.sandbox_dirs()
    equal(left, [], "directories")
    check(str(private.dir) not in pathlib.Path("/proc/mounts").read_text(), "mounts are left")


def main():
    authority = Authority(private.dir)
    (private.dir / "hosts").write_text(f"{ADDRESS} api.test\n{OTHER} other.test\n")
    lo_address(private, ADDRESS)
    suite.origin = Origin(ADDRESS, 443, *authority.issue("api.test"))
    gateway = Gateway(private, {"OPENSHELL_LOCAL_EXTRA_CA": str(authority.pem),
                                "OPENSHELL_LOCAL_EXTRA_HOSTS": str(private.dir / "hosts")})
    gateway.start()
    suite.run(gateway)


main()
