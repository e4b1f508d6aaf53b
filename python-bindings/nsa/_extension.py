# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Finding the extension modules."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType


def extension(name: str) -> ModuleType:
    """The extension module `name` of this package.

    Raises ``ImportError`` that says for which Python it was built, if not for this one.
    """
    package = __package__ or "nsa"
    full = f"{package}.{name}"
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name != full:
            raise
    found = sorted(path.name for path in Path(__file__).parent.glob(f"{name}.*.so"))
    if not found:
        raise ImportError(f"{full} is missing: nsa was built without it", name=full)
    version = ".".join(map(str, sys.version_info[:3]))
    raise ImportError(
        f"{full} was built for another Python: there is {', '.join(found)}, and this is "
        f"{sys.implementation.name} {version} ({sys.implementation.cache_tag})",
        name=full,
    )
