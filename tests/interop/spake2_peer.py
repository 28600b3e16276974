"""One side of SPAKE2 with the stock library python-spake2.

Arguments: A|B, password, idA, idB (hex). Prints its message, reads the other side's, prints the key.
"""

import sys

from spake2 import SPAKE2_A, SPAKE2_B

side = {"A": SPAKE2_A, "B": SPAKE2_B}[sys.argv[1]]
password, id_a, id_b = (bytes.fromhex(argument) for argument in sys.argv[2:])
spake = side(password, idA=id_a, idB=id_b)
print(spake.start().hex(), flush=True)
print(spake.finish(bytes.fromhex(sys.stdin.readline().strip())).hex(), flush=True)
