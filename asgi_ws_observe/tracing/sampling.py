"""A shorter way to the sampler's answer for a message."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Tracer

from .contexts import SPAN_KEY

__all__ = ["for_sampled_children"]


def for_sampled_children(tracer: Tracer) -> Tracer:
    """Return the tracer to make children of a sampled span of this process with.

    The SDK's `ParentBased`, which is its default, passes every question on, by what the parent is.
    For such children it always asks the same other sampler, so that can be asked at once: a part
    of what a message's span costs is finding that out again. Where the answer is always yes, it is
    given again. For any other sampler it is the tracer itself.

    Args:
        tracer: The SDK's, or anybody's.
    """
    sampler: Any = getattr(tracer, "sampler", None)
    sdk = sys.modules.get("opentelemetry.sdk.trace.sampling")
    decides = sampler
    if type(sampler) is getattr(sdk, "ParentBased", None):
        decides = getattr(sampler, "_local_parent_sampled", sampler)
    always = sampler is not None and decides is getattr(sdk, "ALWAYS_ON", None)
    if decides is sampler and not always:
        return tracer
    children: Any = copy.copy(tracer)
    children.sampler = _SameAnswer(decides) if always else decides
    return children  # type: ignore[no-any-return]


class _SameAnswer:
    """Gives the answer of the SDK's `ALWAYS_ON` again while the parent's trace state is the same.

    Nothing else of the question is in that answer, but attributes, of which a message has none yet.
    """

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler
        # Both in one, for threads.
        self._kept: tuple[Any, Any] = (None, None)

    def should_sample(
        self,
        parent_context: Context,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Mapping[str, Any] | None = None,
        links: Any = None,
        trace_state: Any = None,
    ) -> Any:
        """Answer as `opentelemetry.sdk.trace.sampling.Sampler` does."""
        parent: Any = parent_context[SPAN_KEY]
        state = parent.get_span_context().trace_state
        kept, answer = self._kept
        if kept is state and not attributes:
            return answer
        answer = self._sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )
        if not attributes:
            self._kept = (state, answer)
        return answer
