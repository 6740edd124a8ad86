"""A shorter way to the sampler's answer for a message."""

from __future__ import annotations

import copy
import sys
from typing import Any

from opentelemetry.trace import Tracer

__all__ = ["for_sampled_children"]


def for_sampled_children(tracer: Tracer) -> Tracer:
    """Return the tracer to make children of a sampled span of this process with.

    The SDK's `ParentBased`, which is its default, passes every question on, by what the parent is.
    For such children it always asks the same other sampler, so that can be asked at once: a part
    of what a message's span costs is finding that out again. For any other sampler it is the
    tracer itself.

    Args:
        tracer: The SDK's, or anybody's.
    """
    sampler: Any = getattr(tracer, "sampler", None)
    sdk = sys.modules.get("opentelemetry.sdk.trace.sampling")
    delegate = getattr(sampler, "_local_parent_sampled", None)
    if delegate is None or type(sampler) is not getattr(sdk, "ParentBased", None):
        return tracer
    children: Any = copy.copy(tracer)
    children.sampler = delegate
    return children  # type: ignore[no-any-return]
