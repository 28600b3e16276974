"""Runs a program on a terminal of its own, and types what it is told when it is asked.

terminal.py [QUESTION ANSWER]... -- COMMAND...: prints all that the terminal showed, and ends as
the program does. An answer is written as it stands: a carriage return is the enter key.
"""

import os
import pty
import sys
import termios
import time

end = sys.argv.index("--")
script = sys.argv[1:end]
process, terminal = pty.fork()
if process == 0:
    os.execvp(sys.argv[end + 1], sys.argv[end + 1 :])
shown = b""
looked = 0
while True:
    try:
        part = os.read(terminal, 4096)
    except OSError:
        break
    if not part:
        break
    shown += part
    while script and script[0].encode() in shown[looked:]:
        question, answer = script.pop(0), script.pop(0)
        looked = shown.index(question.encode(), looked) + len(question)
        # A hasty hand types before the program hides what is typed; this one looks first.
        while termios.tcgetattr(terminal)[3] & termios.ECHO:
            time.sleep(0.01)
        os.write(terminal, answer.encode())
sys.stdout.buffer.write(shown)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
