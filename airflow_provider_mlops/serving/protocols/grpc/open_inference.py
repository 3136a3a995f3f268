"""The messages of `open_inference.proto`, made from its descriptor.

They have a descriptor pool of their own. In Python's usual one they would collide with those of `tritonclient` and
`kserve`, which have the same names.
"""

from __future__ import annotations

from importlib import resources

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "airflow_provider_mlops.serving.protocols.grpc"

_files = descriptor_pb2.FileDescriptorSet.FromString(
    resources.files(_PACKAGE).joinpath("open_inference.binpb").read_bytes()
)
_pool = descriptor_pool.DescriptorPool()
for _file in _files.file:
    _pool.Add(_file)
DESCRIPTOR = _pool.FindFileByName("open_inference.proto")
for _name, _message in DESCRIPTOR.message_types_by_name.items():
    globals()[_name] = message_factory.GetMessageClass(_message)
