"""``python -m tests.audit``: known holes in the packages that are installed. Fails where there are
some; where nobody can be asked, it says so and passes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

COMMAND = ("-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--skip-editable")
PATIENCE = 300  # seconds


def main() -> int:
    """The exit code."""
    try:
        asked = subprocess.run(
            [sys.executable, *COMMAND],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f"Known holes: the index has not answered within {PATIENCE} s; nothing was audited.")
        return 0
    return report(asked.stdout, asked.stderr)


def report(answer: str, complaint: str) -> int:
    """Prints what pip-audit has found; the exit code."""
    try:
        packages: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (complaint.strip().splitlines() or ["no answer"])[-1]
        print(f"Known holes: nothing was audited. pip-audit says: {last}")
        return 0
    known = [one for one in packages if "skip_reason" not in one]
    holes = [(one, hole) for one in known for hole in one["vulns"]]
    for one, hole in holes:
        mended = ", ".join(hole["fix_versions"]) or "no version yet"
        print(f"{one['name']} {one['version']}: {hole['id']}, mended in {mended}")
    left = len(packages) - len(known)
    also = f"; {left} could not be asked for" if left else ""
    print(f"Known holes: {len(holes)} in {len(known)} packages{also}.")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main())
