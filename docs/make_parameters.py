"""Write docs/parameters.md from nextflow_schema.json, and the same text to stdout with ``--print``."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def render() -> str:
    """The whole page: a table a group, then the longer explanations."""
    schema = json.loads((ROOT / "nextflow_schema.json").read_text(encoding="utf-8"))
    lines = [
        "# Parameters",
        "",
        "Made from `nextflow_schema.json` by `make docs`. `nextflow run main.nf --help NAME` shows one of them.",
        "",
    ]
    for group in schema["$defs"].values():
        lines += [
            f"## {group['title']}",
            "",
            group["description"],
            "",
            "| parameter | what | type | default |",
            "| --- | --- | --- | --- |",
        ]
        lines += [row(name, entry) for name, entry in group["properties"].items()]
        longer = {name: entry["help_text"] for name, entry in group["properties"].items() if "help_text" in entry}
        lines += [""] + [line for name, text in longer.items() for line in (f"`--{name}`: {text}", "")]
    return "\n".join(lines).rstrip() + "\n"


def row(name: str, entry: dict[str, object]) -> str:
    """One line of a table."""
    choices = entry.get("enum") or entry.get("list_of")
    kind = " \\| ".join(map(str, choices)) if isinstance(choices, list) else str(entry["type"])
    default = "" if entry.get("default") in (None, "") else f"`{json.dumps(entry['default']).strip(chr(34))}`"
    return f"| `--{name}` | {entry['description']} | {kind} | {default} |"


if __name__ == "__main__":
    if "--print" in sys.argv[1:]:
        sys.stdout.write(render())
    else:
        (ROOT / "docs" / "parameters.md").write_text(render(), encoding="utf-8")
