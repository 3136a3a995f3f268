"""Write what the gateway needs of `open_inference.proto`: its descriptor, and the types of its messages.

It needs the package grpcio-tools, which may be installed in any environment:

    pip install grpcio-tools
    python tools/grpc_messages.py
"""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "airflow_provider_mlops" / "serving" / "protocols" / "grpc"
HEADER = "# Written by tools/grpc_messages.py: do not edit.\n"


def write(target: Path) -> None:
    """Write both files to a folder."""
    from grpc_tools import protoc

    proto = FOLDER / "open_inference.proto"
    descriptor = target / "open_inference.binpb"
    options = [f"-I{FOLDER}", f"--descriptor_set_out={descriptor}", f"--pyi_out={target}", str(proto)]
    if protoc.main(["protoc", *options]):
        sys.exit(f"{proto} could not be compiled.")
    generated = target / "open_inference_pb2.pyi"
    (target / "open_inference.pyi").write_text(HEADER + generated.read_text())
    generated.unlink()


if __name__ == "__main__":
    write(FOLDER)
