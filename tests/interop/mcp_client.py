"""An MCP client of the official SDK, major version 1 or 2, in a sandbox: mcp_client.py URL. Prints what it got as JSON."""
import asyncio
import json
import sys

import mcp

mcp_error = getattr(mcp, "McpError", None) or mcp.MCPError
url = sys.argv[1]
progress = []


async def on_progress(done, total=None, message=None):
    progress.append(int(done))


def text(result):
    return result.content[0].text


out = {"progress": progress}


async def use(session):
    async def call(tool, arguments, **kw):
        return text(await asyncio.wait_for(session.call_tool(tool, arguments, **kw), 15))
    out["tools"] = sorted(t.name for t in (await session.list_tools()).tools)
    out["search"] = await call("search", {"query": "x"})
    out["count"] = await call("count", {}, progress_callback=on_progress)
    try:
        out["remove"] = await call("remove", {"name": "x"})
    except mcp_error as why:
        out["remove"] = f"error: {why}"
    out["after"] = await call("search", {"query": "y"})


async def main():
    if hasattr(mcp, "Client"):
        async with mcp.Client(url) as client:
            await use(client)
        return
    from mcp.client.streamable_http import streamablehttp_client
    async with streamablehttp_client(url) as (read, write, _), mcp.ClientSession(read, write) as session:
        await session.initialize()
        await use(session)


try:
    asyncio.run(main())
except ExceptionGroup as group:  # version 1 ends the session with the refusal
    while isinstance(group, ExceptionGroup):
        group = group.exceptions[0]
    out["remove"] = f"{type(group).__name__}: {group}"
print(json.dumps(out))
