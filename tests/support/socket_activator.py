"""Opens sockets on the loopback and hands them to a program, as systemd does (sd_listen_fds(3)).

socket_activator.py NAMES COMMAND...: prints the port of each socket, then becomes the command.
"""

import fcntl
import os
import socket
import sys

names = sys.argv[1].split(":")
opened = []
for _ in names:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    # Away from the numbers that they are to have.
    opened.append(fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD, 64))
    print(listener.getsockname()[1], flush=True)
    listener.detach()
for index, number in enumerate(opened):
    os.dup2(number, 3 + index, inheritable=True)
os.environ.update(
    LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(names)), LISTEN_FDNAMES=sys.argv[1]
)
os.execvp(sys.argv[2], sys.argv[2:])
