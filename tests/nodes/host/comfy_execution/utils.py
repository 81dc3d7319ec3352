"""The node that runs."""

from typing import NamedTuple


class ExecutionContext(NamedTuple):
    prompt_id: str
    node_id: str


def get_executing_context() -> ExecutionContext | None:
    return ExecutionContext("prompt", "7")
