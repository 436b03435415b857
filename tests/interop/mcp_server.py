"""An MCP server of the official SDK, major version 1 or 2, streamable HTTP over TLS: mcp_server.py ADDRESS PORT CERT KEY CALLS.
Every call of a tool is a line in the file CALLS."""
import sys

import uvicorn

try:
    from mcp.server.fastmcp import Context, FastMCP as Server
except ImportError:
    from mcp.server.mcpserver import Context, MCPServer as Server

address, port, cert, key, calls = sys.argv[1:]
server = Server("test")


def note(tool):
    with open(calls, "a", encoding="ascii") as f:
        f.write(tool + "\n")


@server.tool()
def search(query: str) -> str:
    note("search")
    return f"found {query}"


@server.tool()
def remove(name: str) -> str:
    note("remove")
    return "removed"


@server.tool()
async def count(ctx: Context) -> str:
    note("count")
    for n in (1, 2, 3):
        await ctx.report_progress(n, 3)
    return "counted 3"


try:
    from mcp.server.transport_security import TransportSecuritySettings
    safe = TransportSecuritySettings(allowed_hosts=[f"mcp.test:{port}"])
except ImportError:
    safe = None
if hasattr(server, "settings") and hasattr(server.settings, "transport_security"):
    server.settings.transport_security = safe
    app = server.streamable_http_app()
else:
    app = server.streamable_http_app(transport_security=safe)
uvicorn.run(app, host=address, port=int(port), ssl_certfile=cert, ssl_keyfile=key, ws="none", log_level="info")
