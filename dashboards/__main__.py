"""``python -m dashboards``: write every dashboard, and remove files that no dashboard writes."""

from __future__ import annotations

from dashboards.write import FOLDER, THRESHOLDS, files, thresholds_file


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    wanted = files()
    for stale in FOLDER.glob("*.json"):
        if stale.name not in wanted:
            stale.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, "utf-8")
    THRESHOLDS.write_text(thresholds_file(), "utf-8")


if __name__ == "__main__":
    main()
