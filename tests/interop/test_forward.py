#!/usr/bin/env python3
"""SSH sessions and ForwardTcp as a stock gRPC client sees them: who is let in, and bytes both ways."""
import hashlib
import os
import pathlib
import queue
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from client import Client, Gateway, load_messages, read_exec, refusal  # noqa: E402
from harness import ECHO_SERVER, Private, Suite, check, equal, wait_for  # noqa: E402

suite = Suite()
case = suite.case
private = Private("forward")
pb, _ = load_messages(private)
gateway = api = None
boxes = {}
TTL = 4  # seconds a token lives here


def setup():
    global gateway, api
    gateway = Gateway(private, args=["--ssh-session-ttl-secs", str(TTL)]).start()
    api = Client(pb, f"127.0.0.1:{gateway.port}", gateway.ca, gateway.cert, gateway.key)
    for name, command in (("one", ["python3", "-c", ECHO_SERVER.replace("PORT", "7007")]), ("two", ["sleep", "infinity"])):
        api.ask("CreateSandbox", name=name, spec=pb.SandboxSpec(command=command))
    for name in ("one", "two"):
        wait_for(f"sandbox {name}", lambda: ready(name), 30)
        boxes[name] = api.ask("GetSandbox", name=name).sandbox.metadata.id
    wait_for("the server", lambda: b"listening" in exec_in("one", "sh", "-c", "grep -q ':1B5F ' /proc/net/tcp && echo listening"), 30)


def exec_in(name, *command):
    return read_exec(api.call("ExecSandbox", pb.ExecSandboxRequest(sandbox_id=boxes[name], command=command)))[0]


def ready(name):
    return api.ask("GetSandbox", name=name).sandbox.status.phase == pb.SANDBOX_PHASE_READY


def token(name="one"):
    return api.ask("CreateSshSession", sandbox_id=boxes[name]).token


def frame(data):
    return pb.TcpForwardFrame(data=data)


def init(name="one", host="127.0.0.1", port=7007, ssh=False, **fields):
    fields.setdefault("sandbox_id", boxes.get(name, name))
    target = {"ssh": pb.SshRelayTarget()} if ssh else {"tcp": pb.TcpRelayTarget(host=host, port=port)}
    return pb.TcpForwardFrame(init=pb.TcpForwardInit(**fields, **target))


def forward(*frames):
    return api.call("ForwardTcp", frames)


def collect(answers):
    return b"".join(a.data for a in answers)


class Open:
    """A forward that stays open until closed."""

    def __init__(self, first):
        self.frames = queue.Queue()
        self.frames.put(first)
        self.answers = api.call("ForwardTcp", iter(self.frames.get, None))

    def echo(self, data):
        self.frames.put(frame(data))
        got = b""
        while len(got) < len(data):
            got += next(self.answers).data
        return got

    def close(self):
        self.frames.put(None)
        return collect(self.answers)


@case
def a_session_names_the_way_in():
    before = time.time() * 1000
    s = api.ask("CreateSshSession", sandbox_id=boxes["one"])
    equal((s.sandbox_id, s.gateway_host, s.gateway_port, s.gateway_scheme, s.host_key_fingerprint),
          (boxes["one"], "127.0.0.1", gateway.port, "https", ""), "reply")
    check(before + TTL * 1000 - 100 <= s.expires_at_ms <= time.time() * 1000 + TTL * 1000 + 100, "expires_at_ms")
    equal(refusal(lambda: api.ask("CreateSshSession")), ("INVALID_ARGUMENT", "sandbox_id is required"))
    equal(refusal(lambda: api.ask("CreateSshSession", sandbox_id="nobody")), ("NOT_FOUND", "sandbox not found"))


@case
def tokens_are_not_stored():
    t = token()
    for path in (gateway.state / "gateway").glob("openshell.db*"):
        check(t.encode() not in path.read_bytes(), f"the token is in {path.name}")


@case
def bytes_pass_both_ways():
    data = os.urandom(3 << 20)
    chunks = [frame(data[i:i + 50000]) for i in range(0, len(data), 50000)]
    got = collect(forward(init(authorization_token=f"  {token()}\n"), frame(b""), *chunks))
    equal(hashlib.sha256(got).digest(), hashlib.sha256(data + b"<end>").digest(), "echo")


@case
def the_ssh_target_greets():
    f = Open(init(ssh=True, authorization_token=token()))
    check(next(f.answers).data.startswith(b"SSH-2.0-"), "banner")
    f.close()


@case
def a_frame_that_is_no_data_ends_the_input():
    got = collect(forward(init(authorization_token=token()), frame(b"in"), init(), frame(b"ignored")))
    equal(got, b"in<end>", "echo")


@case
def requests_are_checked_in_order():
    t = token()
    cases = (
        ((), ("INVALID_ARGUMENT", "empty ForwardTcp stream")),
        ((frame(b"x"),), ("INVALID_ARGUMENT", "first TcpForwardFrame must be init")),
        ((init(sandbox_id=""),), ("INVALID_ARGUMENT", "sandbox_id is required")),
        ((pb.TcpForwardFrame(init=pb.TcpForwardInit(sandbox_id="x")),), ("INVALID_ARGUMENT", "tcp forward target is required")),
        ((init(port=0),), ("INVALID_ARGUMENT", "tcp target port must be between 1 and 65535")),
        ((init(port=65536),), ("INVALID_ARGUMENT", "tcp target port must be between 1 and 65535")),
        ((init(host="  "),), ("INVALID_ARGUMENT", "tcp target host is required")),
        ((init(host="10.200.0.1"),), ("INVALID_ARGUMENT", "tcp target host must be loopback")),
        ((init(host="example.com"),), ("INVALID_ARGUMENT", "tcp target host must be loopback")),
        ((init(sandbox_id="nobody"),), ("NOT_FOUND", "sandbox not found")),
        ((init(),), ("UNAUTHENTICATED", "authorization_token is required for ForwardTcp")),
        ((init(authorization_token="nonsense"),), ("UNAUTHENTICATED", "SSH session token not found")),
        ((init("two", authorization_token=t),), ("UNAUTHENTICATED", "SSH session token is not valid")),
    )
    for frames, want in cases:
        equal(refusal(lambda: forward(*frames)), want, str(frames)[:80])
    for host in ("localhost", "LOCALHOST", " 127.0.0.1 "):
        equal(collect(forward(init(host=host, authorization_token=t), frame(b"x"))), b"x<end>", host)


@case
def a_closed_port_is_an_error():
    code, text = refusal(lambda: forward(init(port=9, authorization_token=token())))
    equal(code, "UNAVAILABLE", text)


@case
def three_connections_per_token_and_no_more():
    t = token()
    held = [Open(init(authorization_token=t)) for _ in range(3)]
    for f in held:
        equal(f.echo(b"x"), b"x", "echo")
    equal(refusal(lambda: forward(init(authorization_token=t))),
          ("RESOURCE_EXHAUSTED", "SSH session connection limit reached"))
    equal(held.pop().close(), b"<end>", "end")
    equal(collect(forward(init(authorization_token=t), frame(b"y"))), b"y<end>", "in the place that is free again")
    for f in held:
        f.close()


@case
def twenty_connections_per_sandbox():
    tokens = [token() for _ in range(7)]
    held = [Open(init(authorization_token=tokens[i // 3])) for i in range(20)]
    for f in held:
        equal(f.echo(b"x"), b"x", "echo")
    equal(refusal(lambda: forward(init(authorization_token=tokens[6]))),
          ("RESOURCE_EXHAUSTED", "sandbox SSH connection limit reached"))
    for f in held:
        f.close()


@case
def revoked_tokens_open_nothing():
    t = token()
    f = Open(init(authorization_token=t))
    equal(f.echo(b"x"), b"x", "echo")
    check(api.ask("RevokeSshSession", token=t).revoked, "revoked")
    check(api.ask("RevokeSshSession", token=t).revoked, "revoked again")
    check(not api.ask("RevokeSshSession", token="nonsense").revoked, "unknown token")
    equal(refusal(lambda: api.ask("RevokeSshSession")), ("INVALID_ARGUMENT", "token is required"))
    equal(refusal(lambda: forward(init(authorization_token=t))), ("UNAUTHENTICATED", "SSH session token is not valid"))
    equal(f.echo(b"still open"), b"still open", "a connection that was open")
    f.close()


@case
def expired_tokens_open_nothing():
    t = token()
    equal(collect(forward(init(authorization_token=t), frame(b"x"))), b"x<end>", "echo")
    time.sleep(TTL + 0.2)
    equal(refusal(lambda: forward(init(authorization_token=t))), ("UNAUTHENTICATED", "SSH session token expired"))


@case
def a_slow_reader_slows_the_sender():
    """40 MiB towards a client that does not read: the gateway must not take them in."""
    f = Open(init(authorization_token=token()))
    def push():
        for _ in range(800):
            f.frames.put(frame(b"z" * 50000))
        f.frames.put(None)
    threading.Thread(target=push, daemon=True).start()
    time.sleep(2)
    text = pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()
    rss = int(text.split("VmRSS:")[1].split()[0])
    check(rss < 64 << 10, f"the gateway grew to {rss} kB")
    equal(len(collect(f.answers)), 40_000_000 + 5, "bytes")


@case
def tokens_go_with_their_sandbox():
    t = token("two")
    api.ask("DeleteSandbox", name="two")
    check(not api.ask("RevokeSshSession", token=t).revoked, "the session outlived its sandbox")
    equal(refusal(lambda: forward(init("two", authorization_token=t)))[0], "NOT_FOUND", "code")


if __name__ == "__main__":
    setup()
    try:
        suite.run()
    finally:
        for s in api.ask("ListSandboxes").sandboxes:
            api.ask("DeleteSandbox", name=s.metadata.name)
        api.close()
