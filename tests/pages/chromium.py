"""The browser that drives the console: Debian's Chromium, or the one that GRIDHOOK_TEST_CHROMIUM names."""

from __future__ import annotations

import os
import shutil

CHROMIUM = os.environ.get("GRIDHOOK_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
WITHOUT = "the console was not driven in a browser: there is none; apt-get install chromium, or set GRIDHOOK_TEST_CHROMIUM"
