"""Two agents of aioice that may use relayed candidates only exchange a message.

Arguments: port, user, password, transport (udp or tcp), encrypted (tls or plain).
"""

import asyncio
import ssl
import sys

import aioice


async def main(port, user, password, transport, encrypted):
    settings = dict(
        turn_server=("127.0.0.1", int(port)),
        turn_username=user,
        turn_password=password,
        turn_transport=transport,
        turn_ssl=encrypted == "tls",
        use_ipv6=False,
    )
    a = aioice.Connection(ice_controlling=True, **settings)
    b = aioice.Connection(ice_controlling=False, **settings)
    for agent in (a, b):
        await agent.gather_candidates()
        # Version 0.8.0 has no policy for it: host candidates and their sockets are taken away.
        agent._local_candidates = [c for c in agent.local_candidates if c.type == "relay"]
        agent._protocols = [p for p in agent._protocols if p.local_candidate.type == "relay"]
    for source, destination in ((a, b), (b, a)):
        for candidate in source.local_candidates:
            await destination.add_remote_candidate(candidate)
        await destination.add_remote_candidate(None)
        destination.remote_username = source.local_username
        destination.remote_password = source.local_password
    await asyncio.gather(a.connect(), b.connect())
    await a.send(b"ping")
    print((await b.recv()).decode())
    await b.send(b"pong")
    print((await a.recv()).decode())
    await asyncio.gather(a.close(), b.close())
    print("closed")


# The test's certificate is signed by itself.
ssl.create_default_context = ssl._create_unverified_context
asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 180))
