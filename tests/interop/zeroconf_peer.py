"""python3-zeroconf as another implementation of mDNS and DNS-SD, on the machine's interfaces.

browse: prints each server found and each that said goodbye, until its input ends.
announce PEER_ID ADDRESS PORT: announces a server in cairn's form until its input ends.
"""

import hashlib
import hmac
import json
import os
import socket
import sys

from zeroconf import ServiceBrowser, ServiceInfo, Zeroconf

SERVICE = "_cairn._tcp.local."
# Milliseconds in which a server has to say where it is, on a machine that is busy.
ASKED_FOR = 60_000
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def say(**values):
    print(json.dumps(values), flush=True)


class Listener:
    def add_service(self, zeroconf, service, name):
        info = zeroconf.get_service_info(service, name, ASKED_FOR)
        say(
            event="found",
            name=name,
            port=info.port,
            addresses=info.parsed_addresses(),
            host=info.server,
            properties={key.decode(): value for key, value in info.properties.items() if key},
        )

    def update_service(self, zeroconf, service, name):
        pass

    def remove_service(self, zeroconf, service, name):
        say(event="gone", name=name)


def instance_name(peer_id):
    number = 0
    for symbol in peer_id:
        number = number * 58 + ALPHABET.index(symbol)
    nonce = os.urandom(8)
    key = hmac.new(nonce, number.to_bytes(34, "big"), hashlib.sha256).digest()
    return (nonce + hmac.new(key, b"cairn-mdns-v1\x01", hashlib.sha256).digest()[:12]).hex()


def main(mode, address, *arguments):
    zeroconf = Zeroconf(interfaces=[address])
    if mode == "browse":
        ServiceBrowser(zeroconf, SERVICE, Listener())
    else:
        peer_id, at, port = arguments
        name = instance_name(peer_id)
        zeroconf.register_service(
            ServiceInfo(
                SERVICE,
                f"{name}.{SERVICE}",
                port=int(port),
                addresses=[socket.inet_aton(at)],
                server=f"{name}.local.",
            )
        )
        say(event="announced", name=name)
    sys.stdin.read()
    zeroconf.close()


main(*sys.argv[1:])
