"""Jupyter kernels forked from one process that has loaded what lessons import: loading is most of a short lesson.

`with forked_kernels(folder) as variables:` gives the variables under which Jupyter starts such kernels. A kernel has
its own memory, folder, variables and streams; only third-party modules, none of the package, are loaded already.
Elsewhere than on Linux there are no such variables and no such kernels: loaded libraries may not bear a fork.

Each kernel is two processes. Jupyter starts the small one, `python forked_kernels.py attach …`, which hands its streams
to the server and stays as long as the fork that is the kernel: if Jupyter kills it, the fork is killed too.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

LOADED = ("IPython", "ipywidgets", "matplotlib.pyplot", "torch", "torch._dynamo", "peft", "safetensors.torch", "einops")
SOCKET = "server"


@contextmanager
def forked_kernels(folder: Path):
    """Start the server of `folder`; its variables make `python3` mean a kernel of this server."""
    import subprocess

    if sys.platform != "linux":
        yield {}
        return
    spec = folder / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-S", "-E", __file__, "attach", str(folder), "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    # As ipykernel sets it before a cell imports matplotlib; here matplotlib comes first.
    inline = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "OMP_NUM_THREADS": "1"}
    command, pipe = [sys.executable, __file__, "serve"], subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, env=os.environ | inline, stdin=pipe, stdout=pipe) as server:
        try:
            assert server.stdout.readline() == b"ready\n"
            yield {"JUPYTER_PATH": str(folder)}
        finally:
            server.stdin.close()  # the server ends with its last kernel


def attach(folder: str, *arguments: str) -> int:
    """Have a kernel forked with this process's streams, folder and variables; wait for its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = {"arguments": arguments, "folder": os.getcwd(), "variables": dict(os.environ)}
    os.chdir(folder)  # the whole path may be too long for a socket
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(SOCKET)
        socket.send_fds(server, [json.dumps(request).encode() + b"\n"], [0, 1, 2])
        return 0 if server.recv(1) == b"0" else 1


def serve() -> None:
    """Fork a kernel for each that asks, until stdin is closed and the last kernel has ended."""
    import importlib
    import select

    for name in LOADED:
        importlib.import_module(name)
    importlib.import_module("ipykernel.kernelapp")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(SOCKET)
    listener.listen()
    print("ready", flush=True)
    kernels: dict[socket.socket, int] = {}
    inputs = [listener, sys.stdin]
    while sys.stdin in inputs or kernels:
        readable, _, _ = select.select([*inputs, *kernels], [], [], 0.05)
        for one in readable:
            if one is sys.stdin:
                inputs.remove(one)
            elif one is listener:
                client, _ = listener.accept()
                kernels[client] = fork_kernel(client, [listener, *kernels])
            else:  # nothing is sent after the request: its process has ended
                with suppress(ProcessLookupError):
                    os.kill(kernels[one], signal.SIGKILL)
        for client, process in list(kernels.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                with suppress(BrokenPipeError, ConnectionResetError):
                    client.send(b"0" if status == 0 else b"1")
                client.close()
                del kernels[client]


def fork_kernel(client: socket.socket, others: list[socket.socket]) -> int:
    """Read a request; become its kernel in a child, and return the child's process id."""
    line, streams, _, _ = socket.recv_fds(client, 1 << 20, 3)
    while not line.endswith(b"\n"):
        line += client.recv(1 << 20)
    child = os.fork()
    if child:
        for stream in streams:
            os.close(stream)
        return child
    status = 1
    try:
        for other in (client, *others):
            other.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        request = json.loads(line)
        os.chdir(request["folder"])
        os.environ.clear()
        # The poller of ipykernel would look for a parent that is not its own.
        os.environ.update({name: value for name, value in request["variables"].items() if name != "JPY_PARENT_PID"})
        sys.path[0] = ""  # as `python -m ipykernel_launcher` has it: the folder at hand
        from ipykernel.kernelapp import IPKernelApp

        IPKernelApp.launch_instance(argv=request["arguments"])
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
    finally:
        os._exit(status)


if __name__ == "__main__":
    sys.exit({"attach": attach, "serve": serve}[sys.argv[1]](*sys.argv[2:]))
