"""An HTTP proxy that knows CONNECT alone: passes to one address, whatever name was asked for, and prints that name.

usage: connect_proxy.py ADDRESS USER:PASSWORD [MILLISECONDS that every chunk is held back]; it listens on port 3128
"""

import asyncio
import base64
import sys

ADDRESS, WANTED = sys.argv[1], base64.b64encode(sys.argv[2].encode()).decode()
DELAY = float(sys.argv[3]) / 1000 if len(sys.argv) > 3 else 0.0


async def pump(reader, writer):
    held = asyncio.Queue(maxsize=1000)
    giving = asyncio.create_task(give(held, writer))
    try:
        while chunk := await reader.read(65536):
            await held.put((asyncio.get_running_loop().time() + DELAY, chunk))
    except ConnectionError:
        pass
    await held.put((0.0, b""))
    await giving


async def give(held, writer):
    """Chunks leave in order, each DELAY after it came; what follows is not held back by what went before."""
    try:
        while (entry := await held.get())[1]:
            await asyncio.sleep(max(0.0, entry[0] - asyncio.get_running_loop().time()))
            writer.write(entry[1])
            await writer.drain()
    except ConnectionError:
        return
    finally:
        writer.close()


async def serve(reader, writer):
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
        return
    verb, target, _ = head[0].split(" ")
    print(target, flush=True)
    given = next((line.split()[-1] for line in head if line.lower().startswith("proxy-authorization:")), "")
    if verb != "CONNECT" or given != WANTED:
        status = b"405 Method Not Allowed" if verb != "CONNECT" else b"407 Proxy Authentication Required"
        writer.write(b"HTTP/1.1 " + status + b'\r\nProxy-Authenticate: Basic realm="site"\r\nContent-Length: 0\r\n\r\n')
        writer.close()
        return
    out_reader, out_writer = await asyncio.open_connection(ADDRESS, int(target.rpartition(":")[2]))
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await asyncio.gather(pump(reader, out_writer), pump(out_reader, writer))


async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", 3128)
    await server.serve_forever()


asyncio.run(main())
