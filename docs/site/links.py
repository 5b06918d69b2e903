"""A hook of mkdocs: of links to files outside of docs/, which the site has not, the words stay."""

from __future__ import annotations

import re
from typing import Any

LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+)[^)]*\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links that stay within docs/ stay."""
    depth = page.file.src_uri.count("/")
    return LINK.sub(lambda link: link[0] if link[2].count("../") <= depth else link[1], markdown)
