"""One side of Noise XX with the stock library dissononce, driven by lines on standard input.

Arguments: initiator|responder, prologue (hex). Each line is a command and its hex arguments ("-" for
empty); each answer is one line of hex.
"""

import sys

from dissononce.cipher.chachapoly import ChaChaPolyCipher
from dissononce.dh.x25519.x25519 import X25519DH
from dissononce.hash.sha256 import SHA256Hash
from dissononce.processing.handshakepatterns.interactive.XX import XXHandshakePattern
from dissononce.processing.impl.cipherstate import CipherState
from dissononce.processing.impl.handshakestate import HandshakeState
from dissononce.processing.impl.symmetricstate import SymmetricState

role, prologue = sys.argv[1:]
dh = X25519DH()
static = dh.generate_keypair()
symmetric = SymmetricState(CipherState(ChaChaPolyCipher()), SHA256Hash())
handshake = HandshakeState(symmetric, dh)
handshake.initialize(XXHandshakePattern(), role == "initiator", bytes.fromhex(prologue), s=static)
ciphers = None


def run(command, arguments):
    global ciphers
    if command == "static":
        return static.public.data
    if command == "remote-static":
        return handshake.rs.data
    if command == "hash":
        return symmetric.get_handshake_hash()
    if command in ("write", "read"):
        buffer = bytearray()
        step = handshake.write_message if command == "write" else handshake.read_message
        ciphers = step(arguments[0], buffer) or ciphers
        return buffer
    send, receive = ciphers if role == "initiator" else reversed(ciphers)
    if command == "encrypt":
        return send.encrypt_with_ad(arguments[0], arguments[1])
    if command == "decrypt":
        return receive.decrypt_with_ad(arguments[0], arguments[1])
    raise ValueError(command)


for line in sys.stdin:
    command, *arguments = line.split()
    answer = run(command, [b"" if a == "-" else bytes.fromhex(a) for a in arguments])
    print(bytes(answer).hex(), flush=True)
