"""The process that workers are forked from: everything is imported once, nothing is ever run.

It is started with an empty environment, null stdio and a session of its own, and knows one order:
a byte with a socket attached means "fork a worker on it". It answers with the worker's process
descriptor. It ends when its parent does, and its workers end with it.
"""

from __future__ import annotations

import array
import gc
import os
import signal
import socket
import struct


def main(control_fd: int) -> None:
    """Serve forks until the parent is gone."""
    from rlm_mcp.sandbox import worker  # the whole warm state, wanted here and nowhere else

    control = socket.socket(fileno=control_fd)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker.preload_worker()
    gc.collect()
    gc.freeze()
    control.sendall(b"+")
    while True:
        data, rights, _, _ = control.recvmsg(1, socket.CMSG_SPACE(4))
        if not data:
            return
        (end,) = array.array("i", rights[0][2][:4])
        child = os.fork()
        if child == 0:
            control.close()
            worker.serve_socket(end)
            os._exit(0)
        os.close(end)
        _send_child(control, child)


def _send_child(control: socket.socket, child: int) -> None:
    try:
        handle = os.pidfd_open(child)
    except (OSError, AttributeError):
        control.sendall(struct.pack(">I", child))
        return
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [handle]).tobytes())]
    control.sendmsg([struct.pack(">I", child)], rights)
    os.close(handle)
