"""The code in the pages that users read runs."""

from __future__ import annotations

import re
import unittest
from pathlib import Path

import security
from engine_case import ROOT, VALUES, EngineCase

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = (ROOT / "README.md", Path(security.__file__).parent / "README.md")


class Pages(EngineCase):
    def test_python_blocks(self) -> None:
        # One after the other, as a reader types them: each page is one program.
        for page in PAGES:
            with self.subTest(page.name, page=str(page)):
                blocks = [code for language, code in FENCE.findall(page.read_text("utf-8")) if language == "python"]
                self.assertTrue(blocks, "no code in it")
                program = "\n".join(blocks)
                folder = self.folder / page.parent.name
                self.run_python(program, **VALUES, SECURITY_DATA_DIR=str(folder))

    def test_configuration_blocks(self) -> None:
        for page in PAGES:
            for language, text in FENCE.findall(page.read_text("utf-8")):
                if language == "toml":
                    file = self.folder / "security.toml"
                    file.write_text(text, "utf-8")
                    with self.subTest(str(page)):
                        self.reopen(config=file)


if __name__ == "__main__":
    unittest.main()
