#!/usr/bin/env python3
"""Real programs in a sandbox: run-times, compilers and tools work under the system call filter, and their own TLS and name lookups
meet the sandbox's CA and name server. What is not installed is skipped by name."""
import json
import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import Authority, Gateway, Origin, Private, Skip, Suite, check, contains, equal, lo_address, wait_for
from harness import run as host

suite = Suite()
case = suite.case
private = Private("programs")
ADDRESS = f"10.95.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250 + 1}"
DIRS = ("/usr/local/bin", "/usr/local/go/bin", "/usr/bin", "/bin")  # what a sandbox has of this machine
PATH = ":".join(DIRS)
POLICY = """version: 1
filesystem_policy:
  include_workdir: true
  read_only: [/usr, /lib, /lib64, /bin, /proc, /dev/urandom, /app, /etc, /var/log]
  read_write: [/tmp, /dev/null, /dev/shm]
landlock: {compatibility: best_effort}
network_policies:
  api:
    name: api
    endpoints: [{host: api.test, port: 443, protocol: rest, enforcement: enforce, access: read-only}]
    binaries: [{path: "/**"}]
"""


def need(*programs):
    for program in programs:
        if not shutil.which(program, path=PATH):
            raise Skip(f"no {program} on this machine")


def run(g, *argv, timeout=120):
    return g.cli("sandbox", "exec", "-n", "box", "--env", f"PATH={PATH}", "--env", "HOME=/sandbox", "--", *argv, timeout=timeout)


def good(g, *argv, **kw):
    r = run(g, *argv, **kw)
    check(r.code == 0, r)
    return r.out


def write(g, name, text):
    r = g.exec("box", "sh", "-c", f"mkdir -p $(dirname /sandbox/{name}) && cat > /sandbox/{name}", stdin=text.encode())
    check(r.code == 0, r)


@case
def shell_tools(g):
    out = good(g, "sh", "-c", "seq 1000 | sort -rn | head -3 | tr '\\n' ' '; mkdir -p d && tar -cf - d | tar -tf -; find / -maxdepth 1 "
               "2>/dev/null | wc -l >/dev/null; (sleep 0.1 & wait); ps -e >/dev/null; df /sandbox >/dev/null; mktemp; timeout 5 true; "
               "nice true; nohup true 2>/dev/null; echo a | tee f; ln -s f l; readlink l")
    contains(out, "1000 999 998")


@case
def python(g):
    out = good(g, "python3", "-c", """
import asyncio, concurrent.futures, multiprocessing, os, socket, sqlite3, subprocess, tempfile, threading, mmap, select, urllib.request
with multiprocessing.Pool(2) as p: print(sum(p.map(abs, range(10))))
with concurrent.futures.ThreadPoolExecutor(4) as t: print(len(list(t.map(str, range(50)))))
async def f():
  p = await asyncio.create_subprocess_exec('true'); return await p.wait()
print(asyncio.run(f()), subprocess.check_output(['echo', 'sub']).decode().strip(), socket.if_nameindex())
sqlite3.connect('/sandbox/x.db').execute('create table t (a)'); mmap.mmap(-1, 4096); select.epoll(); tempfile.TemporaryFile()
print(socket.getaddrinfo('api.test', 443)[0][4][0][:7], urllib.request.urlopen('https://api.test/py', timeout=10).status)
""")
    equal(out.split(), ["45", "50", "0", "sub", "[(1,", "'lo')]", "198.18.", "200"], "output")


@case
def node(g):
    """Node lists interfaces at its start and asks names by threads of its own."""
    need("node")
    write(g, "t.js", """
const os = require('os'), dns = require('dns'), cp = require('child_process'), { Worker } = require('worker_threads'), https = require('https');
console.log(Object.keys(os.networkInterfaces()), cp.execSync('echo sub').toString().trim());
dns.lookup('api.test', (e, a) => { console.log('lookup', e ? e.code : a.slice(0, 7));
dns.lookup('denied.test', (e) => { console.log('denied', e && e.code);
dns.resolve4('api.test', (e, a) => { console.log('resolve', e ? e.code : a.length);
https.get('https://api.test/node', r => { console.log('https', r.statusCode); r.resume();
new Worker("require('worker_threads').parentPort.postMessage('worker')", {eval: true}).on('message', m => console.log(m));
}).on('error', e => console.log('https', e.code)); }); }); });
""")
    out = good(g, "node", "/sandbox/t.js")
    for part in ("[ 'lo' ] sub", "lookup 198.18.", "denied ENOTFOUND", "resolve 1", "https 200", "worker"):
        contains(out, part)


@case
def java(g):
    need("java")
    write(g, "T.java", """
public class T { public static void main(String[] a) throws Exception {
  var t = new Thread(() -> System.out.println("thread")); t.start(); t.join();
  System.out.println(java.net.InetAddress.getByName("api.test").getHostAddress().substring(0, 7));
  System.out.println(java.net.NetworkInterface.networkInterfaces().count());
  System.out.println(new String(new ProcessBuilder("echo", "sub").start().getInputStream().readAllBytes()).trim());
  System.gc(); System.out.println(Runtime.getRuntime().availableProcessors() > 0);
} }
""")
    out = good(g, "java", "-Xmx128m", "/sandbox/T.java")
    equal(out.split(), ["thread", "198.18.", "1", "sub", "true"], "output")


@case
def go(g):
    """Compiled on the machine, whose cache has the standard library; the sandbox would take a minute for it."""
    need("go")
    (private.dir / "t.go").write_text("""package main
import ("fmt"; "net"; "net/http"; "os/exec"; "sync")
func main() {
  var w sync.WaitGroup
  for i := 0; i < 100; i++ { w.Add(1); go func() { w.Done() }() }
  w.Wait()
  a, err := net.LookupHost("api.test"); fmt.Println(err == nil && len(a) > 0)
  i, _ := net.Interfaces(); fmt.Println(len(i))
  o, _ := exec.Command("echo", "sub").Output(); fmt.Print(string(o))
  r, err := http.Get("https://api.test/go"); if err != nil { fmt.Println(err) } else { fmt.Println(r.StatusCode) }
}
""")
    env = dict(os.environ, PATH=PATH, GOTOOLCHAIN="local", GO111MODULE="off", CGO_ENABLED="0")
    built = host("go", "build", "-o", private.dir / "goprogram", private.dir / "t.go", env=env, timeout=240)
    check(built.code == 0, built)
    g.must("sandbox", "upload", "box", private.dir / "goprogram")
    equal(good(g, "/sandbox/goprogram").split(), ["true", "1", "sub", "200"], "output")
    contains(good(g, "env", "GOTOOLCHAIN=local", "go", "version"), "go version")


@case
def compiler(g):
    need("gcc", "make")
    write(g, "c/Makefile", "t: t.c\n\tcc -O1 -pthread -o t t.c\n")
    write(g, "c/t.c", "#include <pthread.h>\n#include <stdio.h>\nstatic void *f(void *a) { return puts(\"thread\"), a; }\n"
          "int main(void) { pthread_t t; return pthread_create(&t, 0, f, 0) || pthread_join(t, 0); }\n")
    good(g, "make", "-C", "/sandbox/c")
    equal(good(g, "/sandbox/c/t"), "thread\n")


@case
def git(g):
    need("git")
    good(g, "sh", "-c", "mkdir -p r && cd r && git init -q && git config user.email a@b && git config user.name a && echo x > f && git add f && "
         "git commit -qm one && cd .. && git clone -q r r2 && cd r2 && git log --oneline | wc -l && git gc -q && git fsck")
    r = run(g, "git", "ls-remote", "https://api.test/repo.git")
    check("certificate" not in r.err and "SSL" not in r.err, r)
    check(any(q["path"].startswith("/repo.git/info/refs") for q in suite.origin.requests), "git did not reach the origin")


@case
def curl(g):
    need("curl")
    equal(json.loads(good(g, "curl", "-sS", "--max-time", "10", "https://api.test/curl"))["path"], "/curl")
    equal(good(g, "curl", "-sS", "--max-time", "10", "--parallel", "-o", "/dev/null", "-w", "%{http_code} ", "https://api.test/a", "-o",
               "/dev/null", "https://api.test/b").split(), ["200", "200"])


@case
def openssl(g):
    need("openssl")
    contains(good(g, "openssl", "speed", "-seconds", "1", "sha256"), "sha256")
    good(g, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x", "-keyout", "/sandbox/k",
         "-out", "/sandbox/c.pem")


def set_binaries(g, path):
    policy = private.dir / "binaries.yaml"
    policy.write_text(POLICY.replace('"/**"', path))
    g.must("policy", "set", "box", "--policy", policy, "--wait")


@case
def binaries_behind_links_and_scripts(g):
    """A listed link counts as what it leads to; a script is its interpreter, and the refusal names that one."""
    good(g, "sh", "-c", "mkdir -p bin venv && ln -sf /usr/bin/curl bin/one && ln -sf one bin/two && "
         "printf '#!/usr/bin/python3\\nimport urllib.request as u\\nprint(u.urlopen(\"https://api.test/s\", timeout=10).status)\\n' >bin/script && "
         "chmod 755 bin/script && ln -sf /usr/bin/python3 venv/python")
    fetch = ("-sS", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", "https://api.test/b")
    try:
        set_binaries(g, "/sandbox/bin/two")
        for program in ("/usr/bin/curl", "/sandbox/bin/one", "/sandbox/bin/two"):
            equal(run(g, program, *fetch).out, "200", program)
        check(run(g, "/sandbox/bin/script").code != 0, "the script was allowed")
        wait_for("the event", lambda: "binary '/usr/bin/python3" in g.must("logs", "box", "-n", "50").out)
        set_binaries(g, "/sandbox/bin/script")
        check(run(g, "/sandbox/bin/script").code != 0, "a script is no executable")
        set_binaries(g, "/sandbox/venv/python")
        equal(run(g, "/sandbox/bin/script").out, "200\n", "the interpreter, by a link to it")
        check(run(g, "/usr/bin/curl", *fetch).out != "200", "curl is not listed any more")
    finally:
        set_binaries(g, '"/**"')


@case
def tracers_are_refused_and_say_so(g):
    """The escape set stays closed: no program may look into another."""
    for program, argv in (("strace", ("strace", "-f", "true")), ("gdb", ("gdb", "-batch", "-ex", "run", "/bin/true"))):
        if not shutil.which(program, path=PATH):
            print(f"# skip {program}: not on this machine", flush=True)
            continue
        r = run(g, *argv)
        contains(r.text, "Operation not permitted")


def main():
    authority = Authority(private.dir)
    (private.dir / "hosts").write_text(f"{ADDRESS} api.test\n")
    lo_address(private, ADDRESS)
    suite.origin = Origin(ADDRESS, 443, *authority.issue("api.test"))
    g = Gateway(private, {"OPENSHELL_LOCAL_EXTRA_CA": str(authority.pem), "OPENSHELL_LOCAL_EXTRA_HOSTS": str(private.dir / "hosts")}).start()
    policy = private.dir / "policy.yaml"
    policy.write_text(POLICY)
    g.must("sandbox", "create", "--name", "box", "--policy", policy, "--detach", "--", "sleep", "infinity")
    suite.run(g)


main()
